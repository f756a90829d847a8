import json
from typing import Any

import boto3
import pytest
from opensearchpy.exceptions import ConnectionError

from snapferry import artifacts
from snapferry.artifacts import users
from snapferry.artifacts.translation import translate_template
from snapferry.errors import Unavailable
from snapferry.journal import SECRETS, Journal, Place
from snapferry.request import DomainJob
from snapferry_sandbox.dashboards.saved_objects import SavedObjects
from tests.unit.conftest import DESTINATION, MakeJob, Side, Storage
from tests.unit.fake_dashboards import FakeDashboards
from tests.unit.fake_security import FakeSecurity
from tests.unit.fakes import Fault

_PIPELINE: dict[str, Any] = {"processors": [{"drop": {}}]}
_OTHER: dict[str, Any] = {"processors": []}
_SECURITY = {"include": ["security"]}


@pytest.fixture
def journal(storage: Storage) -> Journal:
    return storage.journal


@pytest.fixture
def plugins(source: Side, destination: Side) -> tuple[FakeSecurity, FakeSecurity]:
    return FakeSecurity(source.cluster), FakeSecurity(destination.cluster)


@pytest.fixture
def dashboards() -> tuple[FakeDashboards, FakeDashboards]:
    return FakeDashboards(base_path="/_dashboards"), FakeDashboards()


@pytest.fixture
def sides(
    source: Side,
    destination: Side,
    plugins: tuple[FakeSecurity, FakeSecurity],
    dashboards: tuple[FakeDashboards, FakeDashboards],
) -> tuple[artifacts.Side, artifacts.Side]:
    at_source, at_destination = (plugin.client("admin") for plugin in plugins)
    its_dashboards, theirs = dashboards
    return (
        artifacts.Side(
            source.client,
            at_source,
            its_dashboards.of(at_source, "/_dashboards", "/_plugin/kibana"),
        ),
        artifacts.Side(destination.client, at_destination, theirs.of(at_destination)),
    )


@pytest.fixture
def vault(storage: Storage) -> artifacts.Vault:  # noqa: ARG001 - the same moto
    secrets = boto3.client("secretsmanager", region_name="eu-west-1")
    return artifacts.Vault(secrets, "snapferry/users/m-1/")


@pytest.fixture
def copy(
    storage: Storage,
    journal: Journal,
    job: DomainJob,
    sides: tuple[artifacts.Side, artifacts.Side],
    vault: artifacts.Vault,
) -> Any:
    def run(of: DomainJob = job, *, moved: bool = False) -> dict[str, tuple[str, str]]:
        """Copies; the verdicts with their reasons by kind and name."""
        counted = artifacts.copy(journal, storage.records, of, *sides, vault, moved=moved)
        verdicts = artifacts.verdicts(storage.records, of.domain.name)
        assert sum(counted.values()) == len(verdicts)
        return {
            f"{verdict.kind} {verdict.name}": (verdict.verdict, verdict.reason)
            for verdict in verdicts
        }

    return run


def give_back(
    journal: Journal,
    sides: tuple[artifacts.Side, artifacts.Side],
    vault: artifacts.Vault | None = None,
) -> list[str]:
    def find(place: Place) -> Any:
        if place.side == SECRETS:
            assert vault
            return artifacts.CHANGEABLES[place.kind](vault.client, place.key)
        assert place.side == DESTINATION
        owner = getattr(sides[1], artifacts.OWNERS[place.kind])
        return artifacts.CHANGEABLES[place.kind](owner, place.key)

    outcome = journal.give_back(find)
    assert (outcome.failed, outcome.waiting) == ([], 0)
    return outcome.foreign


def test_what_is_missing_is_created_and_given_back(
    source: Side, destination: Side, journal: Journal, copy: Any, sides: Any
) -> None:
    source.cluster.artifacts.kept = {
        "_scripts": {"rank": {"lang": "painless", "source": "1"}},
        "_ingest/pipeline": {"stamp": _PIPELINE, "über all/äll": _PIPELINE},
        "_search/pipeline": {"open": {"request_processors": []}},
        "_component_template": {"small": {"template": {"settings": {"number_of_shards": 1}}}},
        "_template": {"old": {"index_patterns": ["a*"], "settings": {"index.codec": "zlib"}}},
        "_index_template": {
            "new": {"index_patterns": ["logs-*"], "composed_of": ["small"], "data_stream": {}}
        },
        "_data_stream": {"logs-a": {"template": "new"}},
    }
    source.cluster.settings["persistent"] = {"search.max_buckets": "7", "cluster.name": "mine"}
    source.cluster.settings["transient"] = {"search.max_buckets": "9"}
    destination.cluster.settings["defaults"]["search.max_buckets"] = "65536"

    found = copy()

    assert {verdict for verdict, _ in found.values()} == {"create"}
    assert set(found) == {
        "stored script rank",
        "ingest pipeline stamp",
        "ingest pipeline über all/äll",
        "search pipeline open",
        "component template small",
        "legacy template old",
        "index template new",
        "data stream logs-a",
        "cluster setting search.max_buckets",
    }
    kept = destination.cluster.artifacts.kept
    assert {path: set(names) for path, names in kept.items() if names} == {
        path: set(names) for path, names in source.cluster.artifacts.kept.items()
    }
    assert destination.cluster.settings["persistent"] == {"search.max_buckets": "9"}
    assert "without documents" in found["data stream logs-a"][1]
    assert give_back(journal, sides) == []
    assert not any(kept.values())
    assert destination.cluster.settings["persistent"] == {}


@pytest.mark.parametrize("fields", [5_000, 50_000])
def test_one_that_is_larger_than_an_item_of_the_table_comes_along_and_is_given_back(
    source: Side, destination: Side, journal: Journal, copy: Any, sides: Any, fields: int
) -> None:
    """Such as a template of thousands of fields, or an index pattern of Dashboards for them."""
    properties = {f"field_{number}": {"type": "keyword"} for number in range(fields)}
    mappings = {"properties": properties}
    kept = {"wide": {"index_patterns": ["wide-*"], "template": {"mappings": mappings}}}
    source.cluster.artifacts.kept = {"_index_template": kept}

    assert copy() == {"index template wide": ("create", "")}
    assert destination.cluster.artifacts.kept["_index_template"] == kept

    [change] = journal.open_changes()
    assert change.ours == (kept["wide"],)
    assert give_back(journal, sides) == []
    assert destination.cluster.artifacts.kept["_index_template"] == {}


def test_a_second_run_changes_nothing(
    source: Side, destination: Side, copy: Any, make_job: MakeJob
) -> None:
    source.cluster.artifacts.kept = {
        "_ingest/pipeline": {"stamp": _PIPELINE},
        # The clusters show numbers and what is left out in other words.
        "_component_template": {"small": {"template": {"settings": {"number_of_shards": 1}}}},
        "_index_template": {"new": {"index_patterns": ["logs-*"], "data_stream": {}}},
    }
    copy()
    destination.cluster.requests.clear()
    other = make_job(domain__name="orders", domain__host="search-orders.example")

    found = copy(other)

    assert {verdict for verdict, _ in found.values()} == {"same"}
    assert not destination.cluster.sent("(PUT|DELETE) .*")
    # The first one still knows what it has made.
    assert {verdict for verdict, _ in copy().values()} == {"create"}
    assert not destination.cluster.sent("(PUT|DELETE) .*")


def test_another_one_of_the_name_is_never_written_over(
    source: Side, destination: Side, copy: Any
) -> None:
    source.cluster.artifacts.kept = {
        "_ingest/pipeline": {"stamp": _PIPELINE},
        "_component_template": {"small": {"template": {"settings": {"number_of_shards": 1}}}},
        "_index_template": {
            "new": {"index_patterns": ["logs-*"], "composed_of": ["small"], "data_stream": {}}
        },
        "_data_stream": {"logs-a": {"template": "new"}},
    }
    theirs = {
        "_ingest/pipeline": {"stamp": _OTHER},
        "_component_template": {"small": {"template": {"settings": {"number_of_shards": 2}}}},
    }
    destination.cluster.artifacts.kept = json.loads(json.dumps(theirs))

    found = copy()

    assert [verdict for verdict, _ in found.values()] == [
        "conflict",
        "conflict",
        # What refers to it would be something else there.
        "cannot",
        "cannot",
    ]
    assert "the component template small" in found["index template new"][1]
    assert {name: kept for name, kept in destination.cluster.artifacts.kept.items() if kept} == (
        theirs
    )


def test_one_that_somebody_makes_at_the_same_moment_stays(
    source: Side, destination: Side, copy: Any, journal: Journal
) -> None:
    source.cluster.artifacts.kept = {"_ingest/pipeline": {"stamp": _PIPELINE}}
    # When the plan was made there was none.
    destination.cluster.faults = [Fault("GET /_ingest/pipeline", (404, {}))]
    destination.cluster.artifacts.kept = {"_ingest/pipeline": {"stamp": _OTHER}}

    found = copy()

    assert found["ingest pipeline stamp"][0] == "conflict"
    assert destination.cluster.artifacts.kept["_ingest/pipeline"] == {"stamp": _OTHER}
    assert journal.open_changes() == []


def test_of_two_domains_at_the_same_moment_the_first_wins(
    source: Side, destination: Side, copy: Any, journal: Journal
) -> None:
    source.cluster.artifacts.kept = {"_ingest/pipeline": {"stamp": _PIPELINE}}
    # It has noted it, and comes to write it only later.
    journal.note(Place(DESTINATION, "copied_ingest_pipeline", "stamp"), None, _OTHER)

    found = copy()

    assert found["ingest pipeline stamp"][0] == "conflict"
    assert not destination.cluster.sent("PUT .*")


def test_an_attempt_that_failed_is_continued(
    source: Side, destination: Side, copy: Any, journal: Journal, sides: Any
) -> None:
    source.cluster.artifacts.kept = {
        "_scripts": {"rank": {"lang": "painless", "source": "1"}},
        "_ingest/pipeline": {"stamp": _PIPELINE},
    }
    destination.cluster.faults = [Fault("PUT /_ingest/.*", (503, {}), times=2)]
    for _ in range(2):
        with pytest.raises(Unavailable):
            copy()

    assert {verdict for verdict, _ in copy().values()} == {"create"}
    assert give_back(journal, sides) == []
    assert not any(destination.cluster.artifacts.kept.values())


def test_what_the_destination_refuses_is_named_with_its_words(
    source: Side, destination: Side, copy: Any
) -> None:
    source.cluster.artifacts.kept = {
        "_scripts": {"old": {"lang": "groovy", "source": "1"}},
        "_template": {"codec": {"index_patterns": ["a*"], "settings": {"index.x": "1"}}},
    }
    destination.cluster.artifacts.unknown_settings = {"index.x"}

    found = copy()

    assert {name: verdict for name, (verdict, _) in found.items()} == {
        "stored script old": "cannot",
        "legacy template codec": "cannot",
    }
    assert "groovy" in found["stored script old"][1]
    assert "unknown setting [index.x]" in found["legacy template codec"][1]


def test_what_is_not_the_peoples_or_not_wanted_stays(
    source: Side, copy: Any, make_job: MakeJob
) -> None:
    source.cluster.artifacts.kept = {
        "_ingest/pipeline": {".plugin": _PIPELINE, "test-a": _PIPELINE, "mine": _PIPELINE},
        "_template": {
            "hidden": {"index_patterns": [".a", ".b*"]},
            "tenant_template": {"index_patterns": ["x"]},
            "managed": {"index_patterns": ["x"], "_meta": {"managed": True}},
        },
        "_index_template": {"streams": {"index_patterns": ["*"], "data_stream": {}}},
        "_data_stream": {"logs-a": {"template": "streams"}, "others": {"template": "streams"}},
    }

    job = make_job(artifacts={"exclude": ["test-*"]}, domain__indices={"include": ["logs-*"]})

    assert set(copy(job)) == {
        "ingest pipeline mine",
        "index template streams",
        "data stream logs-a",
    }
    assert copy(make_job(artifacts={"include": []})) == {}


def test_only_a_star_is_special_in_what_is_left_out(
    source: Side, copy: Any, make_job: MakeJob
) -> None:
    names = ("a[1]", "a1", "b?", "bc")
    source.cluster.artifacts.kept = {"_ingest/pipeline": dict.fromkeys(names, _PIPELINE)}

    found = copy(make_job(artifacts={"exclude": ["a[1]", "b?"]}))

    assert set(found) == {"ingest pipeline a1", "ingest pipeline bc"}


def test_a_legacy_template_that_others_come_before_is_named(
    source: Side, destination: Side, copy: Any
) -> None:
    source.cluster.artifacts.kept = {
        "_template": {"old": {"index_patterns": ["logs-*"]}, "older": {"index_patterns": ["b"]}}
    }
    destination.cluster.artifacts.kept = {"_index_template": {"theirs": {"index_patterns": ["l*"]}}}

    found = copy()

    assert "the index template theirs go by that one alone" in found["legacy template old"][1]
    assert found["legacy template older"] == ("create", "")


@pytest.mark.parametrize("ism", ["/_plugins/_ism", "/_opendistro/_ism"])
def test_policies_are_copied_where_they_are_wanted_when_clients_have_moved(
    source: Side,
    destination: Side,
    journal: Journal,
    copy: Any,
    make_job: MakeJob,
    sides: Any,
    ism: str,
) -> None:
    policy = {"description": "old ones go", "default_state": "all", "states": [{"name": "all"}]}
    noted = {"policy_id": "keep", "last_updated_time": 7, "schema_version": 3}
    source.cluster.artifacts.ism = ism
    source.cluster.artifacts.kept = {
        "policies": {"keep": policy | noted, "unused": policy | noted, "there": policy | noted}
    }
    source.cluster.artifacts.managed = {"logs-1": "keep", "logs-2": "keep"}
    destination.cluster.artifacts.kept = {"policies": {"there": {"default_state": "other"}}}
    assert copy() == {}

    job = make_job(artifacts={"include": ["index_policies"]})

    planned = copy(job)

    assert planned["index policy keep"] == ("create", "")
    assert planned["index policy unused"] == ("create", "")
    assert planned["index policy there"][0] == "conflict"
    # Its template would match the indices of later rounds.
    assert not destination.cluster.sent("(PUT|POST) .*")

    found = copy(job, moved=True)

    assert found.items() >= planned.items()
    [sent] = destination.cluster.sent("PUT /_plugins/_ism/policies/keep")
    assert sent.body == {"policy": policy}
    assert give_back(journal, sides) == []
    assert set(destination.cluster.artifacts.kept["policies"]) == {"there"}


def test_policies_are_attached_when_clients_have_moved(
    source: Side,
    destination: Side,
    journal: Journal,
    copy: Any,
    make_job: MakeJob,
    sides: Any,
) -> None:
    job = make_job(
        artifacts={"include": ["index_policies"]},
        domain__indices={"include": ["logs-*"]},
    )
    policy = {"default_state": "all", "states": [{"name": "all"}]}
    other = {"default_state": "other", "states": [{"name": "other"}]}
    source.cluster.artifacts.kept = {"policies": {"keep": policy, "there": policy}}
    source.cluster.artifacts.managed = {
        "logs-1": "keep",
        "logs-2": "keep",
        "logs-3": "keep",
        "logs-4": "there",
        "orders": "keep",
    }
    destination.cluster.artifacts.kept = {"policies": {"there": other}}
    destination.cluster.artifacts.managed = {"logs-2": "there", "logs-3": "keep"}
    before = copy(job)

    for _ in range(2):
        found = copy(job, moved=True)

    kind = "index policy attachment"
    assert found == before | {
        f"{kind} logs-1": ("create", ""),
        f"{kind} logs-2": (
            "conflict",
            "the destination has another one of this name, which stays",
        ),
        f"{kind} logs-3": ("same", ""),
        f"{kind} logs-4": (
            "cannot",
            "it needs the index policy there, which isn't the source's there",
        ),
    }
    assert destination.cluster.artifacts.managed == {
        "logs-1": "keep",
        "logs-2": "there",
        "logs-3": "keep",
    }
    assert give_back(journal, sides) == []
    assert destination.cluster.artifacts.managed == {"logs-2": "there", "logs-3": "keep"}


def test_policies_that_an_old_plugin_does_not_list_are_named(
    source: Side, copy: Any, make_job: MakeJob
) -> None:
    """Before Open Distro 1.13 (Elasticsearch 7.10) one can be asked for by its name alone."""
    refusal = "Incorrect HTTP method for uri [/_opendistro/_ism/policies], allowed: [PUT]"
    source.cluster.faults = [Fault("GET /_plugins/_ism/policies", (405, {"error": refusal}))]

    found = copy(make_job(artifacts={"include": ["index_policies"]}))

    verdict, reason = found["index policy *"]
    assert verdict == "cannot"
    assert "allowed: [PUT]" in reason


def test_a_policy_that_the_plugin_refuses_to_attach_is_told_in_its_words(
    source: Side, destination: Side, copy: Any, make_job: MakeJob
) -> None:
    job = make_job(artifacts={"include": ["index_policies"]})
    source.cluster.artifacts.kept = {"policies": {"keep": {"default_state": "all"}}}
    source.cluster.artifacts.managed = {"logs-1": "keep"}
    copy(job)
    refused = {
        "updated_indices": 0,
        "failures": True,
        "failed_indices": [{"index_name": "logs-1", "index_uuid": "u", "reason": "it is closed"}],
    }
    destination.cluster.faults = [Fault("POST /_plugins/_ism/add/logs-1", (200, refused))]

    verdict, reason = copy(job, moved=True)["index policy attachment logs-1"]

    assert verdict == "cannot"
    assert reason.endswith("refuses to add a policy: it is closed")


def test_security_is_copied_where_it_is_wanted(
    plugins: tuple[FakeSecurity, FakeSecurity],
    journal: Journal,
    copy: Any,
    make_job: MakeJob,
    sides: Any,
) -> None:
    at_source, at_destination = plugins
    readers = {"allowed_actions": ["indices:data/read/*"], "type": "index"}
    at_source.others = {
        "actiongroups": {"readers": readers},
        "tenants": {"sales": {"description": "sales"}, "global": {"reserved": True}},
        "internalusers": {"anna": {"password": "secret", "backend_roles": ["a"]}},
    }
    at_source.roles |= {
        "sales": {
            "cluster_permissions": ["b", "a"],
            "index_permissions": [{"index_patterns": ["a"], "allowed_actions": ["readers"]}],
        },
        "snapferry-m-1": {"cluster_permissions": [], "index_permissions": []},
    }
    at_source.mappings = {
        "sales": {"users": ["anna"]},
        "manage_snapshots": {"users": ["anna"]},
        "all_access": {"users": ["admin"]},
    }
    at_destination.mappings = {"all_access": {"users": ["root"]}}
    at_source.others["actiongroups"]["all"] = {"allowed_actions": ["writers"]}
    at_source.others["actiongroups"]["writers"] = {"allowed_actions": ["indices:data/write/*"]}
    at_destination.others = {"actiongroups": {"writers": {"allowed_actions": ["*"]}}}
    before = json.dumps(at_destination.mappings)
    assert copy() == {}

    found = copy(make_job(artifacts=_SECURITY))

    assert {name: verdict for name, (verdict, _) in found.items()} == {
        # It would hold other writers.
        "action group all": "cannot",
        "action group readers": "create",
        "action group writers": "conflict",
        "tenant sales": "create",
        "role sales": "create",
        "internal user anna": "cannot",
        "role mapping all_access": "conflict",
        "role mapping sales": "create",
    }
    assert at_destination.others["actiongroups"]["readers"] == readers
    assert at_destination.roles["sales"]["cluster_permissions"] == ["a", "b"]
    assert at_destination.mappings["sales"] == {"users": ["anna"]}
    assert give_back(journal, sides) == []
    assert json.dumps(at_destination.mappings) == before
    assert "sales" not in at_destination.roles


def test_users_get_new_passwords_where_that_is_wanted(
    plugins: tuple[FakeSecurity, FakeSecurity],
    storage: Storage,
    journal: Journal,
    copy: Any,
    make_job: MakeJob,
    sides: Any,
    vault: artifacts.Vault,
) -> None:
    at_source, at_destination = plugins
    user = {"password": "secret", "backend_roles": ["a"]}
    at_source.others = {"internalusers": {"anna": user, "j.b@x y": user, "there": user}}
    at_destination.others = {"internalusers": {"there": user}}
    job = make_job(artifacts=_SECURITY | {"internal_users": "create"})
    kept = at_destination.others["internalusers"]

    found = copy(job)

    names = {"anna": "snapferry/users/m-1/anna", "j.b@x y": "snapferry/users/m-1/j.b=40x=20y"}
    for user_name, secret in names.items():
        assert found[f"internal user {user_name}"][0] == "create"
        assert secret in found[f"internal user {user_name}"][1]
        made = json.loads(vault.client.get_secret_value(SecretId=secret)["SecretString"])
        assert made == {"username": user_name, "password": kept[user_name]["password"]}
        assert kept[user_name]["backend_roles"] == ["a"]
        # It stands nowhere else.
        assert made["password"] not in str(storage.items) + str(storage.s3.objects)
    assert found["internal user there"] == ("same", "")
    assert kept["there"] == user
    assert copy(job).keys() == found.keys()
    assert give_back(journal, sides, vault) == []
    assert set(kept) == {"there"}
    assert vault.client.list_secrets()["SecretList"] == []


def test_of_two_domains_that_make_a_users_secret_at_once_the_first_counts(
    journal: Journal, vault: artifacts.Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = vault.password(journal, "anna")
    # Both had looked before it was there.
    monkeypatch.setattr(users.Secret, "read", lambda _: None)

    assert vault.password(journal, "anna") == password


def test_the_secret_of_a_user_who_stays_stays(
    plugins: tuple[FakeSecurity, FakeSecurity],
    storage: Storage,
    journal: Journal,
    copy: Any,
    make_job: MakeJob,
    sides: Any,
    vault: artifacts.Vault,
) -> None:
    users = {"anna": {"password": "1"}, "bert": {"password": "2"}}
    plugins[0].others = {"internalusers": users}
    chosen = _SECURITY | {"internal_users": "create"}
    copy(make_job(artifacts=chosen))
    del users["bert"]
    other = make_job(artifacts=chosen, domain__name="orders", domain__host="search-orders.example")
    assert copy(other)["internal user anna"][0] == "same"

    storage.records.write(
        "jobs", [one.model_dump(mode="json") for one in (make_job(artifacts=chosen), other)]
    )
    artifacts.hand_over(journal, other)
    artifacts.leave_handed_over(journal, storage.records)

    assert give_back(journal, sides, vault) == []
    assert set(plugins[1].others["internalusers"]) == {"anna"}
    [secret] = vault.client.list_secrets()["SecretList"]
    assert secret["Name"] == "snapferry/users/m-1/anna"


def test_security_that_may_not_be_read_is_named(
    plugins: tuple[FakeSecurity, FakeSecurity], copy: Any, make_job: MakeJob
) -> None:
    plugins[0].administrators.clear()

    found = copy(make_job(artifacts=_SECURITY))

    assert {verdict for verdict, _ in found.values()} == {"cannot"}
    assert "role *" in found
    assert "No permission to access REST API" in found["role *"][1]


def test_what_was_handed_over_is_not_given_back(
    source: Side,
    destination: Side,
    storage: Storage,
    journal: Journal,
    make_job: MakeJob,
    copy: Any,
    sides: Any,
) -> None:
    source.cluster.artifacts.kept = {"_ingest/pipeline": {"both": _PIPELINE, "mine": _PIPELINE}}
    copy()
    del source.cluster.artifacts.kept["_ingest/pipeline"]["mine"]
    other = make_job(domain__name="orders", domain__host="search-orders.example")
    assert copy(other)["ingest pipeline both"][0] == "same"

    # The other domain is moved, the first one isn't.
    storage.records.write("jobs", [one.model_dump(mode="json") for one in (make_job(), other)])
    artifacts.hand_over(journal, other)
    artifacts.leave_handed_over(journal, storage.records)

    assert give_back(journal, sides) == []
    assert set(destination.cluster.artifacts.kept["_ingest/pipeline"]) == {"both"}
    assert journal.kept_changes() == []


def test_a_data_stream_that_was_written_to_is_not_removed(
    source: Side, destination: Side, journal: Journal, copy: Any, sides: Any
) -> None:
    source.cluster.artifacts.kept = {
        "_index_template": {"new": {"index_patterns": ["logs-*"], "data_stream": {}}},
        "_data_stream": {"logs-a": {"template": "new"}},
    }
    copy()
    destination.cluster.artifacts.documents = {"logs-a": 3}

    [foreign] = give_back(journal, sides)

    assert "data stream logs-a" in foreign
    assert "logs-a" in destination.cluster.artifacts.kept["_data_stream"]


# Dashboards

_SAVED = {
    "artifacts": {"include": ["saved_objects"]},
    "destination__dashboards_endpoint": "dashboards.example.com:5601",
}


@pytest.fixture
def saved(make_job: MakeJob) -> DomainJob:
    """A migration that copies saved objects, and nothing else."""
    return make_job(**_SAVED)


def test_saved_objects_come_with_what_they_refer_to_and_are_given_back(
    journal: Journal,
    dashboards: tuple[FakeDashboards, FakeDashboards],
    copy: Any,
    saved: DomainJob,
    sides: Any,
) -> None:
    its, theirs = dashboards
    its.add("index-pattern", "global/logs", timeFieldName="at")
    its.add("visualization", "global/a pie/1", "index-pattern/logs", visState="{}")
    its.add("dashboard", "global/all", "visualization/a pie/1")
    its.add("dashboard", "sales/theirs")
    theirs.add("dashboard", "global/other")
    assert copy() == {}

    found = copy(saved)

    assert found == {
        "saved index-pattern global/logs": ("create", "its title is logs"),
        "saved visualization global/a pie/1": ("create", "its title is a pie/1"),
        "saved dashboard global/all": ("create", "its title is all"),
    }
    for key in (("index-pattern", "logs"), ("visualization", "a pie/1"), ("dashboard", "all")):
        for part in ("attributes", "references"):
            assert theirs.saved.of("global")[key][part] == its.saved.of("global")[key][part]
    # A second attempt, and another migration, write nothing more.
    theirs.requests.clear()
    assert copy(saved) == found
    assert {request.method for request in theirs.requests} == {"GET"}
    assert give_back(journal, sides) == []
    assert theirs.names() == {"dashboard global/other"}


def test_saved_objects_that_are_there_are_known_by_what_they_are(
    dashboards: tuple[FakeDashboards, FakeDashboards], copy: Any, saved: DomainJob
) -> None:
    its, theirs = dashboards
    for one, fields in (its, "[1]"), (theirs, "[1, 2]"):
        one.add("query", f"global/{fields}")
        # Dashboards reads the fields from the index, now and then.
        one.add("index-pattern", "global/logs", fields=fields)
    del its.saved.of("global")["query", "[1]"]

    assert copy(saved) == {"saved index-pattern global/logs": ("same", "its title is logs")}
    assert {request.method for request in theirs.requests} == {"GET"}


def test_a_saved_object_of_others_stays_and_nothing_comes_that_would_show_it(
    dashboards: tuple[FakeDashboards, FakeDashboards], copy: Any, saved: DomainJob
) -> None:
    its, theirs = dashboards
    its.add("index-pattern", "global/logs")
    its.add("search", "global/errors", "index-pattern/logs")
    its.add("visualization", "global/pie", "search/errors")
    its.add("dashboard", "global/all", "visualization/pie")
    its.add("dashboard", "global/empty")
    theirs.add("search", "global/errors", "index-pattern/other")

    found = copy(saved)

    assert found["saved index-pattern global/logs"][0] == "create"
    assert found["saved search global/errors"] == (
        "conflict",
        "its title is errors; the destination has another one of this name, which stays",
    )
    assert found["saved visualization global/pie"] == (
        "cannot",
        "its title is pie; it needs the saved search global/errors, which isn't the source's there",
    )
    assert found["saved dashboard global/all"][0] == "cannot"
    assert "the saved visualization global/pie" in found["saved dashboard global/all"][1]
    assert found["saved dashboard global/empty"][0] == "create"
    assert theirs.saved.of("global")["search", "errors"]["references"][0]["id"] == "other"
    assert theirs.names() == {
        "index-pattern global/logs",
        "search global/errors",
        "dashboard global/empty",
    }


def test_what_dashboards_refuses_to_import_is_told(
    dashboards: tuple[FakeDashboards, FakeDashboards], copy: Any, saved: DomainJob
) -> None:
    its, theirs = dashboards
    its.add("visualization", "global/orphan", "index-pattern/gone")
    its.add("map", "global/world")

    found = copy(saved)

    assert found == {
        "saved visualization global/orphan": (
            "cannot",
            "its title is orphan; it refers to what isn't there: index-pattern gone",
        ),
        "saved map global/world": (
            "cannot",
            "its title is world; the destination's Dashboards knows no such type",
        ),
    }
    assert theirs.names() == set()


def test_a_saved_object_that_an_import_changes_is_still_the_migrations_own(
    journal: Journal,
    dashboards: tuple[FakeDashboards, FakeDashboards],
    copy: Any,
    saved: DomainJob,
    sides: Any,
    make_job: MakeJob,
) -> None:
    its, theirs = dashboards
    theirs.saved = SavedObjects(lambda attributes: attributes | {"version": 2})
    its.add("dashboard", "global/all")
    its.add("dashboard", "global/changed")
    other = make_job(**_SAVED, domain__name="orders", domain__host="search-orders.example")

    found = copy(saved)

    assert {verdict for verdict, _ in found.values()} == {"create"}
    assert copy(saved) == found
    assert {verdict for verdict, _ in copy(other).values()} == {"same"}
    theirs.add("dashboard", "global/changed", by="somebody")
    [foreign] = give_back(journal, sides)
    assert "saved dashboard global/changed" in foreign
    assert theirs.names() == {"dashboard global/changed"}


def test_named_tenants_come_along_with_security(
    plugins: tuple[FakeSecurity, FakeSecurity],
    dashboards: tuple[FakeDashboards, FakeDashboards],
    journal: Journal,
    copy: Any,
    make_job: MakeJob,
    sides: Any,
) -> None:
    its, theirs = dashboards
    at_source, at_destination = plugins
    tenants = {"sales": {"description": "sales"}, "press": {"description": "press"}}
    # No header can hold the name of the last one.
    at_source.others = {"tenants": tenants | {"東京": {"description": "東京"}}}
    at_destination.others = {"tenants": {"press": {"description": "another one"}}}
    for tenant in ("global", "sales", "press", "東京"):
        its.add("dashboard", f"{tenant}/all")
    changes = _SAVED | {"artifacts": {"include": ["security", "saved_objects"]}}

    found = copy(make_job(**changes))

    assert {name: verdict for name, (verdict, _) in found.items()} == {
        "tenant sales": "create",
        "tenant press": "conflict",
        "tenant 東京": "create",
        "saved dashboard global/all": "create",
        "saved dashboard sales/all": "create",
        "saved dashboard press/all": "cannot",
    }
    assert theirs.names() == {"dashboard global/all", "dashboard sales/all"}
    assert give_back(journal, sides) == []
    assert theirs.names() == set()


@pytest.mark.parametrize("side", [0, 1], ids=["source", "destination"])
def test_a_global_tenant_that_is_not_open_is_named(
    plugins: tuple[FakeSecurity, FakeSecurity],
    dashboards: tuple[FakeDashboards, FakeDashboards],
    copy: Any,
    saved: DomainJob,
    side: int,
) -> None:
    dashboards[0].add("dashboard", "global/all")
    plugins[side].closed_tenants = {"global_tenant"}

    verdict, reason = copy(saved)["saved dashboard *"]

    assert verdict == "cannot"
    assert "the tenant global of Dashboards isn't open" in reason
    assert dashboards[side].requests == []


def test_nothing_is_asked_of_a_tenant_for_which_dashboards_would_take_another(
    plugins: tuple[FakeSecurity, FakeSecurity],
    dashboards: tuple[FakeDashboards, FakeDashboards],
    copy: Any,
    make_job: MakeJob,
) -> None:
    its, theirs = dashboards
    its.add("dashboard", "sales/all")
    plugins[0].others = {"tenants": {"sales": {"description": "sales"}}}
    plugins[1].closed_tenants = {"sales"}
    changes = _SAVED | {"artifacts": {"include": ["security", "saved_objects"]}}

    verdict, reason = copy(make_job(**changes))["saved dashboard sales/all"]

    assert verdict == "cannot"
    assert "the tenant sales of Dashboards isn't open" in reason
    assert {request.headers["securitytenant"] for request in theirs.requests} == {"global"}


def test_kibana_is_asked_where_the_domain_is_elasticsearch(
    plugins: tuple[FakeSecurity, FakeSecurity],
    dashboards: tuple[FakeDashboards, FakeDashboards],
    copy: Any,
    saved: DomainJob,
) -> None:
    its, theirs = dashboards
    its.base_path = "/_plugin/kibana"
    plugins[0].api = None
    its.add("dashboard", "global/all")

    assert copy(saved)["saved dashboard global/all"][0] == "create"
    assert theirs.names() == {"dashboard global/all"}


def test_all_pages_of_saved_objects_are_read(
    dashboards: tuple[FakeDashboards, FakeDashboards], copy: Any, saved: DomainJob
) -> None:
    for number in range(1_001):
        for one in dashboards:
            one.add("query", f"global/{number}")

    assert [verdict for verdict, _ in copy(saved).values()] == ["same"] * 1_001
    asked = [one.parameters for one in dashboards[0].requests]
    pages = [parameters["page"] for parameters in asked if parameters["type"] == "query"]
    assert pages == ["1", "2", "3"]


def test_where_dashboards_is_not_found_every_kind_says_so(
    dashboards: tuple[FakeDashboards, FakeDashboards], copy: Any, saved: DomainJob
) -> None:
    dashboards[0].base_path = "/elsewhere"

    found = copy(saved)

    assert {verdict for verdict, _ in found.values()} == {"cannot"}
    assert "Dashboards dashboards.example answered" in found["saved dashboard *"][1]


def test_a_page_in_place_of_an_answer_is_a_sign_in(
    dashboards: tuple[FakeDashboards, FakeDashboards], copy: Any, saved: DomainJob
) -> None:
    dashboards[0].refusal = 200, "<html>Sign in</html>"

    assert "basic authentication" in copy(saved)["saved dashboard *"][1]


def test_dashboards_that_cannot_be_reached_is_tried_again(
    dashboards: tuple[FakeDashboards, FakeDashboards], copy: Any, saved: DomainJob
) -> None:
    dashboards[0].refusal = ConnectionError("N/A", "no route", OSError())

    with pytest.raises(Unavailable, match="have a route to it"):
        copy(saved)


# Other engines


def test_settings_of_other_engines_are_renamed_or_left_out_by_the_destinations_version() -> None:
    template = {
        "settings": {
            "index.opendistro.index_state_management.rollover_alias": "logs",
            "index.lifecycle.name": "hot",
            "index.knn.algo_param.m": "16",
            "index.number_of_shards": "2",
        }
    }

    at_2, notes_at_2 = translate_template(template, 2)
    at_3, notes_at_3 = translate_template(template, 3)

    assert at_3 == {
        "settings": {
            "index.plugins.index_state_management.rollover_alias": "logs",
            "index.number_of_shards": "2",
        }
    }
    assert at_2["settings"] == at_3["settings"] | {"index.knn.algo_param.m": "16"}
    assert (len(notes_at_2), len(notes_at_3)) == (2, 3)
    assert "index.plugins.index_state_management.rollover_alias there" in notes_at_2[0]
    assert "without index.lifecycle.name" in notes_at_2[1]
    assert "without index.knn.algo_param.m" in notes_at_3[2]


@pytest.mark.parametrize(
    ("mappings", "translated", "note"),
    [
        (
            {"doc": {"properties": {}, "dynamic": "strict"}},
            {"properties": {}, "dynamic": "strict"},
            "type doc",
        ),
        ({"_default_": {}, "_doc": {"_source": {}}}, {"_source": {}}, "_default_"),
        ({"_default_": {"dynamic": False}}, {}, "_default_"),
        ({"properties": {"doc": {}}}, {"properties": {"doc": {}}}, None),
        ({"derived": {"a": {}}}, {"derived": {"a": {}}}, None),
        ({"a": {}, "b": {}}, {"a": {}, "b": {}}, None),
        ({}, {}, None),
    ],
)
def test_a_mapping_is_taken_out_of_its_type(
    mappings: dict[str, Any], translated: dict[str, Any], note: str | None
) -> None:
    template, notes = translate_template({"mappings": mappings, "order": 1}, 2)

    assert template == {"mappings": translated, "order": 1}
    assert bool(notes) == (note is not None)
    assert note is None or any(note in each for each in notes)


def test_a_cluster_setting_of_open_distro_has_its_name_of_today(
    source: Side, destination: Side, copy: Any
) -> None:
    source.cluster.settings["persistent"] = {"opendistro.sql.enabled": "false"}
    destination.cluster.settings["defaults"]["plugins.sql.enabled"] = "true"

    assert copy() == {"cluster setting plugins.sql.enabled": ("create", "")}
    assert destination.cluster.settings["persistent"] == {"plugins.sql.enabled": "false"}
