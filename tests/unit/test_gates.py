import time
from typing import get_args

import pytest

from snapferry import gates
from snapferry.catchup import IndexRound, Round
from snapferry.prediction import Tally
from snapferry.request import Gate
from tests.unit.conftest import Announcements, Events, MakeJob, Storage

TOKEN = "AQCEAAAAKgAAAAMAAAAAAAAAAexample"
TOPIC_ARN = "arn:aws:sns:eu-west-1:222222222222:snapferry"


@pytest.mark.parametrize(
    ("gate", "prompt"),
    [
        ("stop_writes", "Stop every client that writes to the source search-logs-abc."),
        ("clients_moved", "Point the clients there"),
    ],
)
def test_a_gate_is_stored_with_its_token_and_told_without(
    make_job: MakeJob,
    storage: Storage,
    events: Events,
    announcements: Announcements,
    gate: Gate,
    prompt: str,
) -> None:
    job = make_job(cutover__gate_deadline_seconds=600)

    gates.announce(storage.records, announcements.client, TOPIC_ARN, events.bus, job, gate, TOKEN)

    item = storage.items["m-1", f"gate#logs#{gate}"]
    assert item["token"] == TOKEN
    assert item["state"] == "open"
    assert (item["gate"], item["domain"]) == (gate, "logs")
    assert int(item["deadline"]) == pytest.approx(time.time() + 600, abs=5)
    [message] = announcements.topic.messages
    assert message["topic"] == TOPIC_ARN
    assert prompt in message["message"]
    assert "Migration: m-1\nDomain: logs\n" in message["message"]
    assert gate.replace("_", " ") in message["subject"]


@pytest.mark.parametrize("gate", ["stop_writes", "clients_moved"])
def test_no_message_can_answer_a_gate(
    make_job: MakeJob, storage: Storage, events: Events, announcements: Announcements, gate: Gate
) -> None:
    gates.announce(
        storage.records, announcements.client, TOPIC_ARN, events.bus, make_job(), gate, TOKEN
    )

    [message] = announcements.topic.messages
    assert TOKEN not in " ".join(message.values())
    assert "http" not in " ".join(message.values())


def test_the_longest_name_fits_into_the_subject(
    make_job: MakeJob, storage: Storage, events: Events, announcements: Announcements
) -> None:
    job = make_job(domain__name="l" * 40)

    gates.announce(
        storage.records, announcements.client, TOPIC_ARN, events.bus, job, "clients_moved", TOKEN
    )

    assert f"({job.domain.name})" in announcements.topic.messages[0]["subject"]


def test_the_gate_says_how_long_writes_will_stop(
    make_job: MakeJob, storage: Storage, events: Events, announcements: Announcements
) -> None:
    tally = Tally(steps_seconds=1.1, by_snapshot=2)
    tally.add("lag fits", Round(1.0, []))
    tally.keep(storage.records, "logs")

    gates.announce(
        storage.records,
        announcements.client,
        TOPIC_ARN,
        events.bus,
        make_job(),
        "stop_writes",
        TOKEN,
    )

    message = announcements.topic.messages[0]["message"]
    assert "it takes about 2.5 s (1.2 to 5.0 s) until" in message
    assert "2 indices need a last snapshot." in message
    assert "longer" not in message


@pytest.mark.parametrize(
    ("lags", "trend"),
    [
        ([9_000, 9_000], "and it doesn't become shorter: most of it is what clients wrote"),
        ([9_000, 8_000], "and 2 rounds of catching up weren't enough"),
    ],
)
def test_the_gate_asks_where_the_write_stop_will_be_longer_than_wanted(
    make_job: MakeJob,
    storage: Storage,
    events: Events,
    announcements: Announcements,
    lags: list[int],
    trend: str,
) -> None:
    tally = Tally(steps_seconds=0.5)
    for lag in lags:
        tally.add("lag fits", Round(1.0, [IndexRound("a", lag=lag)]))
    tally.keep(storage.records, "logs")
    job = make_job(cutover={"write_stop_seconds": 1, "catch_up_rounds": 2})

    gates.announce(
        storage.records, announcements.client, TOPIC_ARN, events.bus, job, "stop_writes", TOKEN
    )

    message = announcements.topic.messages[0]["message"]
    assert "longer than the 1 s that are wanted" in message
    assert trend in message
    assert "Reject the gate" in message


def test_others_are_told_when_writes_may_be_stopped(
    make_job: MakeJob, storage: Storage, announcements: Announcements, events: Events
) -> None:
    for gate in get_args(Gate):
        gates.announce(
            storage.records, announcements.client, TOPIC_ARN, events.bus, make_job(), gate, TOKEN
        )

    [(event, detail)] = events.fake.told
    assert event == "ReadyForCutover"
    assert TOKEN not in str(detail)
    assert detail["answer_until"] == storage.items["m-1", "gate#logs#stop_writes"]["deadline"]
