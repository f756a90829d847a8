import copy
from typing import Any

import pytest

from snapferry import restore_limits
from snapferry.errors import Unavailable
from snapferry.journal import GivenBack, Journal
from snapferry.request import DomainJob
from tests.unit.conftest import DOMAIN_AS_DESTINATION, MakeJob, Side, Storage
from tests.unit.fakes import Fault

SECRET = {"secret_arn": "arn:aws:secretsmanager:eu-west-1:222222222222:secret:snapferry/b"}
PRIMARIES = "cluster.routing.allocation.node_initial_primaries_recoveries"
BYTES = "indices.recovery.max_bytes_per_sec"
CHUNKS = "indices.recovery.max_concurrent_file_chunks"
FETCHES = "cluster.snapshot.info.max_concurrent_fetches"


@pytest.fixture
def journal(storage: Storage) -> Journal:
    return storage.journal


def in_effect(side: Side, name: str) -> str:
    settings = side.cluster.settings
    return next(
        settings[scope][name]
        for scope in ("transient", "persistent", "defaults")
        if name in settings[scope]
    )


def lifted(side: Side) -> set[str]:
    """The limits that differ from their defaults."""
    defaults = side.cluster.settings["defaults"]
    return {name for name in defaults if in_effect(side, name) != defaults[name]}


def test_limits_are_lifted_and_given_back(
    journal: Journal, destination: Side, job: DomainJob
) -> None:
    before = copy.deepcopy(destination.cluster.settings)

    assert restore_limits.lift(journal, destination.client, job) == []
    assert lifted(destination) == set(before["defaults"])
    outcome = restore_limits.give_back(journal, destination.client, job)

    assert destination.cluster.settings == before
    assert (len(outcome.done), outcome.foreign) == (len(before["defaults"]), [])
    assert journal.open_changes() == []


def test_values_that_were_set_are_given_back_and_the_transient_one_counts(
    journal: Journal, destination: Side, job: DomainJob
) -> None:
    settings = destination.cluster.settings
    settings["persistent"] = {PRIMARIES: "6", BYTES: "100mb"}
    settings["transient"] = {BYTES: "0.5gb", CHUNKS: "1"}
    before = copy.deepcopy(settings)

    restore_limits.lift(journal, destination.client, job)
    assert (in_effect(destination, PRIMARIES), in_effect(destination, BYTES)) == ("20", "0")
    assert settings["persistent"][BYTES] == "100mb"
    restore_limits.give_back(journal, destination.client, job)

    assert settings == before


@pytest.mark.parametrize(
    ("name", "value"), [(PRIMARIES, "32"), (PRIMARIES, "20"), (BYTES, "-1"), (BYTES, "0b")]
)
@pytest.mark.parametrize("scope", ["persistent", "transient"])
def test_a_limit_that_is_wide_enough_is_not_touched(
    journal: Journal, destination: Side, job: DomainJob, scope: str, name: str, value: str
) -> None:
    destination.cluster.settings[scope] = {name: value}
    restore_limits.lift(journal, destination.client, job)
    assert in_effect(destination, name) == value
    assert name not in {change.place.key.partition("/")[2] for change in journal.open_changes()}


def test_settings_that_cannot_be_changed_are_named_and_left(
    journal: Journal, destination: Side, job: DomainJob
) -> None:
    del destination.cluster.settings["defaults"][FETCHES]
    destination.cluster.fixed_settings = {BYTES}
    before = copy.deepcopy(destination.cluster.settings)

    refused = restore_limits.lift(journal, destination.client, job)

    assert sorted(refused) == [FETCHES, BYTES]
    assert in_effect(destination, PRIMARIES) == "20"
    assert restore_limits.give_back(journal, destination.client, job).failed == []
    assert destination.cluster.settings == before


def test_other_failures_are_not_swallowed(
    journal: Journal, destination: Side, job: DomainJob
) -> None:
    destination.cluster.faults = [Fault("PUT /_cluster/settings", (503, "busy"))]
    with pytest.raises(Unavailable):
        restore_limits.lift(journal, destination.client, job)


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({"destination__lift_restore_limits": False}, 0),
        ({"destination": DOMAIN_AS_DESTINATION}, 1),
        ({"destination": DOMAIN_AS_DESTINATION | {"lift_restore_limits": False}}, 0),
    ],
    ids=["unwanted", "Amazon domain", "Amazon domain, unwanted"],
)
def test_limits_stay_where_the_input_says_so_or_amazon_does(
    journal: Journal, destination: Side, make_job: MakeJob, changes: dict[str, Any], noted: int
) -> None:
    job = make_job(**changes)
    assert restore_limits.foresee(destination.client, job) == []
    assert len(restore_limits.notes(job)) == noted
    assert restore_limits.lift(journal, destination.client, job) == []
    assert restore_limits.give_back(journal, destination.client, job) == GivenBack()
    assert destination.cluster.requests == []


def test_the_last_restore_of_several_gives_them_back(
    journal: Journal, destination: Side, make_job: MakeJob
) -> None:
    logs, orders = make_job(domain__name="logs"), make_job(domain__name="orders")
    for job in (logs, orders, logs):
        restore_limits.lift(journal, destination.client, job)

    for _ in range(2):
        assert restore_limits.give_back(journal, destination.client, logs) == GivenBack()
        assert lifted(destination) == set(destination.cluster.settings["defaults"])
    assert restore_limits.give_back(journal, destination.client, orders).done
    assert lifted(destination) == set()


def test_each_destination_gets_back_its_own(
    journal: Journal, source: Side, destination: Side, make_job: MakeJob
) -> None:
    # The fake of the other side does as well as another destination.
    other = {"endpoint": "other.example.com"} | SECRET
    logs = make_job(domain__name="logs")
    orders = make_job(domain__name="orders", domain__destination=other)
    restore_limits.lift(journal, destination.client, logs)
    restore_limits.lift(journal, source.client, orders)

    assert restore_limits.give_back(journal, destination.client, logs).done

    assert lifted(destination) == set()
    assert lifted(source) == set(source.cluster.settings["defaults"])
    assert restore_limits.give_back(journal, source.client, orders).done
    assert lifted(source) == set()
    assert journal.open_changes() == []


def test_limits_are_lifted_anew_for_the_next_round(
    journal: Journal, destination: Side, job: DomainJob
) -> None:
    for value in ("50mb", "60mb"):
        destination.cluster.settings["persistent"] = {BYTES: value}
        restore_limits.lift(journal, destination.client, job)
        assert in_effect(destination, BYTES) == "0"
        restore_limits.give_back(journal, destination.client, job)
        assert destination.cluster.settings["persistent"] == {BYTES: value}


def test_value_that_somebody_else_set_is_left_and_reported(
    journal: Journal, destination: Side, job: DomainJob
) -> None:
    restore_limits.lift(journal, destination.client, job)
    destination.cluster.settings["persistent"][BYTES] = "80mb"

    outcome = restore_limits.give_back(journal, destination.client, job)

    [note] = outcome.foreign
    assert BYTES in note
    assert "80mb" in note
    assert destination.cluster.settings["persistent"] == {BYTES: "80mb"}


def test_half_lifted_limits_are_given_back(
    journal: Journal, destination: Side, job: DomainJob
) -> None:
    destination.cluster.settings["persistent"] = {PRIMARIES: "3"}
    before = copy.deepcopy(destination.cluster.settings)
    destination.cluster.faults = [Fault("PUT /_cluster/settings", (503, "busy"), takes_effect=True)]
    with pytest.raises(Unavailable):
        restore_limits.lift(journal, destination.client, job)
    assert destination.cluster.settings != before

    restore_limits.give_back(journal, destination.client, job)

    assert destination.cluster.settings == before
