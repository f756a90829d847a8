"""Index State Management, suspended while writes are stopped."""

from dataclasses import dataclass
from typing import Any

import pytest
from opensearchpy import OpenSearch

from snapferry import index_policies
from snapferry.indices import Index
from snapferry.journal import Place, side_of
from tests.unit.conftest import Storage
from tests.unit.fake_shards import FakeTailCluster
from tests.unit.fakes import Fault

DOMAIN = "logs"
NAMES = ["logs-1", "logs-2"]
ENABLED = "index_state_management.enabled"
DENIED = (403, {"error": {"type": "security_exception", "reason": "no permissions for [x]"}})


@dataclass(frozen=True)
class Domain:
    """A domain, and a client of it."""

    cluster: FakeTailCluster
    client: OpenSearch


@pytest.fixture
def managed() -> Domain:
    """One on one of whose indices a policy acts."""
    cluster = FakeTailCluster({})
    cluster.artifacts.managed = {"logs-2": "keep-a-month"}
    cluster.settings["defaults"] |= {f"plugins.{ENABLED}": "true"}
    return Domain(cluster, cluster.client("source"))


def set_by_now(domain: Domain) -> dict[str, str]:
    return domain.cluster.settings["transient"]


def test_it_is_suspended_and_resumed(managed: Domain, storage: Storage) -> None:
    # An attempt that is repeated changes nothing more.
    for _ in range(2):
        index_policies.suspend(storage.journal, managed.client, DOMAIN, NAMES)
        assert set_by_now(managed) == {f"plugins.{ENABLED}": "false"}

    index_policies.resume(storage.journal, managed.client, DOMAIN)

    assert set_by_now(managed) == {}
    assert storage.journal.open_changes() == []


def test_what_was_set_before_is_set_again(managed: Domain, storage: Storage) -> None:
    set_by_now(managed)[f"plugins.{ENABLED}"] = "true"
    index_policies.suspend(storage.journal, managed.client, DOMAIN, NAMES)
    index_policies.resume(storage.journal, managed.client, DOMAIN)
    assert set_by_now(managed) == {f"plugins.{ENABLED}": "true"}


def test_other_domains_stay_suspended(managed: Domain, storage: Storage) -> None:
    index_policies.suspend(storage.journal, managed.client, DOMAIN, NAMES)
    index_policies.resume(storage.journal, managed.client, "another")
    assert set_by_now(managed) == {f"plugins.{ENABLED}": "false"}


def test_open_distro_names_it_otherwise(managed: Domain, storage: Storage) -> None:
    managed.cluster.version = {"number": "7.10.2"}
    managed.cluster.artifacts.ism = "/_opendistro/_ism"
    managed.cluster.settings["defaults"] |= {f"opendistro.{ENABLED}": "true"}
    index_policies.suspend(storage.journal, managed.client, DOMAIN, NAMES)
    assert set_by_now(managed) == {f"opendistro.{ENABLED}": "false"}


@pytest.mark.parametrize("reason", ["no policy", "others", "no plugin", "not shown"])
def test_where_no_policy_acts_nothing_is_changed(
    managed: Domain, storage: Storage, reason: str
) -> None:
    if reason in ("no policy", "others"):
        managed.cluster.artifacts.managed = {"theirs": "a"} if reason == "others" else {}
    if reason == "no plugin":
        managed.cluster.artifacts.ism = "/_none"
    if reason == "not shown":
        managed.cluster.faults = [Fault("GET /_plugins/_ism/.*", DENIED) for _ in range(2)]

    assert index_policies.foresee(managed.client, DOMAIN, NAMES) == []
    index_policies.suspend(storage.journal, managed.client, DOMAIN, NAMES)

    assert set_by_now(managed) == {}
    assert storage.journal.open_changes() == []


@pytest.mark.parametrize("refusal", [DENIED, (401, {"Message": "payload is not allowed."})])
def test_where_it_may_not_be_suspended_it_goes_on(
    managed: Domain, storage: Storage, refusal: Any
) -> None:
    managed.cluster.faults = [Fault("PUT /_cluster/settings", refusal)]
    index_policies.suspend(storage.journal, managed.client, DOMAIN, NAMES)
    assert set_by_now(managed) == {}


def template(*patterns: str, at: int) -> dict[str, Any]:
    return {"index_patterns": list(patterns), "priority": 1, "last_updated_time": at}


def test_policies_that_will_take_charge_of_restored_indices_are_noted(managed: Domain) -> None:
    """As the plugin does: by the templates that are older than the index's original."""
    managed.cluster.artifacts.kept["policies"] = {
        "clean-up": {"ism_template": [template("x-*", at=1), template("logs-*", at=1)]},
        "newer": {"ism_template": [template("logs-*", at=1_500)]},
        # So Open Distro has it.
        "single": {"ism_template": template("*-3", at=2_500)},
        "by hand": {"ism_template": None},
        "without": {},
    }
    created = {"logs-1": 1_000, "logs-2": 2_000, "logs-3": 3_000, "orders": 3_000}
    moved = [Index(name, "u", True, 1, 1, 1, at) for name, at in created.items()]

    clean_up, newer, single = index_policies.notes(managed.client, moved)

    assert "policy clean-up of" in clean_up
    assert "logs-1, logs-2, logs-3" in clean_up
    assert "take the pattern out of its ism_template" in clean_up
    assert "policy newer of" in newer
    assert "logs-2, logs-3" in newer
    assert "logs-1" not in newer
    assert "policy single of" in single
    assert "logs-3" in single


def test_an_index_of_unknown_age_is_noted_in_any_case(managed: Domain) -> None:
    managed.cluster.artifacts.kept["policies"] = {"all": {"ism_template": [template("*", at=7)]}}

    assert len(index_policies.notes(managed.client, [Index("logs-1", "", True, 1, 0, 1, 0)])) == 1


@pytest.mark.parametrize("reason", ["no plugin", "not shown"])
def test_where_policies_do_not_show_none_is_noted(managed: Domain, reason: str) -> None:
    if reason == "no plugin":
        managed.cluster.artifacts.ism = "/_none"
    else:
        managed.cluster.faults = [Fault("GET /_plugins/_ism/.*", DENIED)]

    assert index_policies.notes(managed.client, [Index("logs-1", "u", True, 1, 0, 1, 2)]) == []


def test_it_is_foreseen(managed: Domain) -> None:
    assert index_policies.foresee(managed.client, DOMAIN, NAMES) == [
        Place(side_of(DOMAIN), "index_policies", f"transient/plugins.{ENABLED}")
    ]
