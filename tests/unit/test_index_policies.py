"""Index State Management, suspended while writes are stopped."""

from dataclasses import dataclass
from typing import Any

import pytest
from opensearchpy import OpenSearch

from snapferry import index_policies
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


def test_it_is_foreseen(managed: Domain) -> None:
    assert index_policies.foresee(managed.client, DOMAIN, NAMES) == [
        Place(side_of(DOMAIN), "index_policies", f"transient/plugins.{ENABLED}")
    ]
