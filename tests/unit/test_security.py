import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snapferry import security
from snapferry.errors import AccessDenied
from snapferry.journal import Journal, Place, side_of
from snapferry.request import DomainJob
from snapferry.security import MappingEntry, Role
from tests.unit.conftest import DESTINATION, DOMAIN_AS_DESTINATION, MakeJob, Side, Storage
from tests.unit.fake_security import FakeSecurity
from tests.unit.fakes import Fault

ARN = "arn:aws:iam::111111111111:role/SnapferryDomainAccess"
ROLE = "snapferry-m-1"
THEIRS = {"backend_roles": ["arn:aws:iam::111111111111:role/Backup"], "description": "nightly"}

type Grant = Callable[..., int]


@pytest.fixture
def journal(storage: Storage) -> Journal:
    return storage.journal


@pytest.fixture
def plugin(destination: Side) -> FakeSecurity:
    return FakeSecurity(destination.cluster)


@pytest.fixture
def grant_at_source(journal: Journal, plugin: FakeSecurity, job: DomainJob) -> Grant:
    def grant(administrator: str = "admin") -> int:
        return security.grant_at_source(
            journal, plugin.client(ARN), plugin.client(administrator), job, lambda _: None
        )

    return grant


@pytest.fixture
def grant_at_destination(journal: Journal, plugin: FakeSecurity, job: DomainJob) -> Grant:
    def grant(administrator: str = "admin") -> int:
        return security.grant_at_destination(
            journal,
            plugin.client("ferry"),
            plugin.client(administrator),
            job,
            "ferry",
            lambda _: None,
        )

    return grant


def give_back(journal: Journal, plugin: FakeSecurity) -> list[str]:
    outcome = journal.give_back(
        lambda place: security.CHANGEABLES[place.kind](plugin.client("admin"), place.key)
    )
    assert outcome.failed == []
    assert outcome.waiting == 0
    return outcome.foreign


def mapped_by_hand(plugin: FakeSecurity, user: str, refusal: str) -> None:
    """Grants exactly what a refusal lists."""
    on_cluster, _, rest = refusal.partition("Cluster permissions: ")[2].partition(". Index ")
    on_indices = rest.partition("permissions on *: ")[2].partition(". They")[0]
    plugin.roles["by-hand"] = {
        "cluster_permissions": on_cluster.split(", "),
        "index_permissions": [{"index_patterns": ["*"], "allowed_actions": on_indices.split(", ")}],
    }
    plugin.mappings["by-hand"] = {"users": [user], "backend_roles": [user]}


# Roles and mappings as values


def test_role_reads_as_it_was_written(plugin: FakeSecurity) -> None:
    role = Role(plugin.client("admin"), "mine")
    value = {
        "cluster_permissions": ["a", "b"],
        "index_permissions": [{"allowed_actions": ["c", "d"], "index_patterns": ["*"]}],
    }
    assert role.read() is None
    role.write(value)
    assert role.read() == value
    role.write(None)
    assert role.read() is None
    role.write(None)
    assert "mine" not in plugin.roles


@pytest.mark.parametrize("kind", ["backend_roles", "users"])
def test_entry_is_added_to_what_is_there_and_removed_from_it(
    plugin: FakeSecurity, kind: str
) -> None:
    plugin.mappings["manage_snapshots"] = {"users": ["first", "last"], **THEIRS}
    entry = MappingEntry(plugin.client("admin"), f"manage_snapshots/{kind}/{ARN}")

    before = entry.read()
    entry.write(value=True)
    entry.write(value=True)
    after = entry.read()

    assert (before, after) == (False, True)
    mapping = plugin.mappings["manage_snapshots"]
    assert mapping[kind][:-1] == ({"users": ["first", "last"]} | THEIRS)[kind]
    assert mapping[kind][-1] == ARN
    assert mapping["description"] == "nightly"
    entry.write(before)
    left = plugin.mappings["manage_snapshots"]
    assert {name: value for name, value in left.items() if value} == {
        "users": ["first", "last"],
        **THEIRS,
    }


def test_mapping_that_was_not_there_goes_with_its_last_entry(plugin: FakeSecurity) -> None:
    client = plugin.client("admin")
    mine = MappingEntry(client, f"manage_snapshots/backend_roles/{ARN}")
    theirs = MappingEntry(client, "manage_snapshots/users/somebody")
    assert mine.read() is None
    mine.write(value=True)
    theirs.write(value=True)

    mine.write(None)
    assert (mine.read(), theirs.read()) == (False, True)
    theirs.write(None)
    assert (mine.read(), theirs.read()) == (None, None)


def test_cluster_without_plugin_has_no_roles(plugin: FakeSecurity) -> None:
    plugin.api = None
    client = plugin.client("admin")
    for value in (Role(client, "mine"), MappingEntry(client, "mine/users/me")):
        assert value.read() is None
        value.write(None)


# Granting


@pytest.mark.parametrize("api", ["/_plugins/_security/api", "/_opendistro/_security/api"])
def test_role_is_created_mapped_and_removed(
    plugin: FakeSecurity, journal: Journal, grant_at_source: Grant, api: str
) -> None:
    plugin.api = api
    plugin.mappings["manage_snapshots"] = dict(THEIRS)
    roles = dict(plugin.roles)

    assert grant_at_source() > 0

    assert plugin.mappings[ROLE]["backend_roles"] == [ARN]
    assert plugin.mappings["manage_snapshots"]["backend_roles"] == [*THEIRS["backend_roles"], ARN]
    assert give_back(journal, plugin) == []
    assert plugin.roles == roles
    [(name, mapping)] = plugin.mappings.items()
    assert name == "manage_snapshots"
    assert {key: value for key, value in mapping.items() if value} == THEIRS


def test_user_of_the_destination_is_mapped_by_its_name(
    plugin: FakeSecurity, journal: Journal, grant_at_destination: Grant
) -> None:
    assert grant_at_destination() > 0
    assert plugin.mappings[ROLE]["users"] == ["ferry"]
    assert give_back(journal, plugin) == []
    assert plugin.mappings == {}


def test_nothing_is_changed_where_nothing_is_missing(
    plugin: FakeSecurity, journal: Journal, grant_at_source: Grant
) -> None:
    grant_at_source()
    plugin.requests.clear()

    assert grant_at_source() == 0

    assert not [request for request in plugin.requests if "_security" in request.path]
    assert len(journal.open_changes()) == 3


def test_domains_side_by_side_share_the_role_at_the_destination(
    plugin: FakeSecurity, journal: Journal, make_job: MakeJob
) -> None:
    jobs = [make_job(domain__name=name) for name in ("logs", "orders")]
    for job in jobs:
        security.grant_at_destination(
            journal, plugin.client("ferry"), plugin.client("admin"), job, "ferry"
        )
    assert {change.place for change in journal.open_changes()} == {
        Place(DESTINATION, "role", ROLE),
        Place(DESTINATION, "role_mapping", f"{ROLE}/users/ferry"),
        Place(DESTINATION, "role_mapping", "manage_snapshots/users/ferry"),
    }
    assert give_back(journal, plugin) == []
    assert plugin.mappings == {}


def test_a_domain_as_destination_knows_its_caller_by_a_backend_role(
    plugin: FakeSecurity, journal: Journal, make_job: MakeJob
) -> None:
    job = make_job(destination=DOMAIN_AS_DESTINATION)
    caller = DOMAIN_AS_DESTINATION["access_role_arn"]

    security.grant_at_destination(
        journal, plugin.client(caller), plugin.client("admin"), job, caller
    )

    assert plugin.mappings[ROLE]["backend_roles"] == [caller]
    assert give_back(journal, plugin) == []
    assert plugin.mappings == {}


def test_half_granted_rights_are_completed_and_given_back(
    plugin: FakeSecurity, journal: Journal, grant_at_source: Grant
) -> None:
    grant_at_source()
    del plugin.mappings[ROLE], plugin.mappings["manage_snapshots"]

    assert grant_at_source() > 0

    assert give_back(journal, plugin) == []
    assert (set(plugin.roles), plugin.mappings) == ({"manage_snapshots"}, {})


def test_half_granted_rights_are_given_back(
    plugin: FakeSecurity, journal: Journal, grant_at_source: Grant
) -> None:
    grant_at_source()
    del plugin.mappings[ROLE], plugin.roles[ROLE]

    assert give_back(journal, plugin) == []

    assert (set(plugin.roles), plugin.mappings) == ({"manage_snapshots"}, {})


def test_role_that_somebody_changed_is_left_and_reported(
    plugin: FakeSecurity, journal: Journal, grant_at_source: Grant
) -> None:
    grant_at_source()
    plugin.roles[ROLE]["cluster_permissions"].append("cluster:admin/theirs")

    [note] = give_back(journal, plugin)

    assert f"role {ROLE}" in note
    assert "cluster:admin/theirs" in note
    assert plugin.mappings == {}


def test_reserved_mapping_is_done_without(
    plugin: FakeSecurity, journal: Journal, grant_at_source: Grant
) -> None:
    plugin.reserved = {"manage_snapshots"}
    assert grant_at_source() > 0
    assert set(plugin.mappings) == {ROLE}
    assert give_back(journal, plugin) == []


def test_new_role_is_waited_for(plugin: FakeSecurity, grant_at_source: Grant) -> None:
    plugin.takes_effect_after = 30
    assert grant_at_source() > 0
    assert plugin.takes_effect_after == 0


def test_role_without_effect_is_named(plugin: FakeSecurity, grant_at_source: Grant) -> None:
    plugin.takes_effect_after = 10_000
    with pytest.raises(AccessDenied, match=rf"The role {ROLE} was mapped, but it has no effect"):
        grant_at_source()


def test_who_may_not_grant_gets_the_list_of_all_missing_rights(
    plugin: FakeSecurity, journal: Journal, grant_at_source: Grant, grant_at_destination: Grant
) -> None:
    for user, grant, field in (
        (ARN, grant_at_source, "domains[].master_user"),
        ("ferry", grant_at_destination, "destination.master_user"),
    ):
        with pytest.raises(AccessDenied) as caught:
            grant(administrator=user)
        assert field in str(caught.value)
        assert f"map {user} to a role" in str(caught.value)
        plugin.mappings.clear()
        mapped_by_hand(plugin, user, str(caught.value))
        assert grant(administrator=user) == 0
    assert journal.open_changes() == []
    assert set(plugin.mappings) == {"by-hand"}


def test_only_what_is_missing_is_listed(plugin: FakeSecurity, grant_at_source: Grant) -> None:
    plugin.mappings["manage_snapshots"] = {"backend_roles": [ARN]}
    with pytest.raises(AccessDenied) as caught:
        grant_at_source(administrator=ARN)
    listed = str(caught.value).partition("They can't be granted")[0]
    assert "cluster:admin/snapshot/" not in listed
    assert "cluster:admin/repository/" not in listed
    assert "cluster:monitor/*" in listed
    assert "indices:data/read/*" in listed


def test_no_plugin_means_no_missing_right(
    plugin: FakeSecurity, journal: Journal, grant_at_source: Grant, grant_at_destination: Grant
) -> None:
    plugin.api = None
    assert grant_at_source() == grant_at_destination() == 0
    assert journal.open_changes() == []


def test_denial_that_is_not_the_plugins_is_passed_on(
    journal: Journal, job: DomainJob, source: Side
) -> None:
    message = f"User: {ARN} is not authorized to perform: es:ESHttpGet"
    source.cluster.faults = [Fault("GET /", (403, {"Message": message}))]
    with pytest.raises(AccessDenied, match="allow es:ESHttp"):
        security.grant_at_source(journal, source.client, source.client, job)


@pytest.mark.parametrize("status", [401, 403])
def test_an_operation_that_amazons_front_refuses_shows_no_missing_right(
    journal: Journal, job: DomainJob, source: Side, status: int
) -> None:
    message = "settings.role_arn is needed for snapshot registration."
    source.cluster.faults = [
        Fault("POST /_snapshot/.*/_verify", (status, {"Message": message}), times=float("inf"))
    ]

    assert security.grant_at_source(journal, source.client, source.client, job) == 0
    assert security.foresee_at_source(source.client, source.client, job) == []


@pytest.mark.parametrize(
    "answer",
    [
        {"Message": "User: x is not authorized to perform: iam:PassRole on resource: y"},
        {"Message": "The security token included in the request is expired"},
        {"message": "Missing Authentication Token"},
        {"Message": "refused", "error": {"type": "security_exception", "reason": "refused"}},
        "Unauthorized",
    ],
)
def test_a_denial_of_the_caller_ends_the_look_at_rights(
    journal: Journal, job: DomainJob, source: Side, answer: Any
) -> None:
    source.cluster.faults = [Fault("POST /_snapshot/.*/_verify", (403, answer))]

    with pytest.raises(AccessDenied, match="What to do: "):
        security.grant_at_source(journal, source.client, source.client, job)


def test_changes_belong_to_the_side(
    plugin: FakeSecurity, journal: Journal, grant_at_source: Grant, grant_at_destination: Grant
) -> None:
    grant_at_source()
    plugin.mappings.clear()
    grant_at_destination()
    assert {change.place.side for change in journal.open_changes()} == {
        DESTINATION,
        side_of("logs"),
    }


def test_roles_to_be_made_by_hand_are_those_that_the_migration_makes(
    plugin: FakeSecurity, grant_at_source: Grant, grant_at_destination: Grant
) -> None:
    text = (Path(__file__).parents[2] / "docs/permissions.md").read_text()
    roles = re.findall(r"^At the \w+:\n\n```json\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    at_source, at_destination = map(json.loads, roles)

    grant_at_source()
    assert plugin.roles[ROLE] == at_source
    plugin.mappings.clear()
    grant_at_destination()
    assert plugin.roles[ROLE] == at_destination
