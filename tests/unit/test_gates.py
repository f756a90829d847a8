import re
import shlex
import time
from typing import get_args

import pytest

from snapferry import gates
from snapferry.catchup import IndexRound, Round
from snapferry.prediction import SliceTally, Tally
from snapferry.request import Gate
from snapferry_cli.main import parser
from tests.unit.conftest import TOPIC_ARN, Announcements, Events, MakeJob, Storage

TOKEN = "AQCEAAAAKgAAAAMAAAAAAAAAAexample"


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

    gates.announce(storage.records, announcements.topic, events.bus, job, gate, TOKEN)

    item = storage.items["m-1", f"gate#logs#{gate}"]
    assert item["token"] == TOKEN
    assert item["gate_state"] == "open"
    assert (item["gate"], item["domain"]) == (gate, "logs")
    assert int(item["deadline"]) == pytest.approx(time.time() + 600, abs=5)
    [message] = announcements.messages
    assert message["topic"] == TOPIC_ARN
    assert prompt in message["message"]
    assert "Migration: m-1\nDomain: logs\n" in message["message"]
    assert gate.replace("_", " ") in message["subject"]


@pytest.mark.parametrize(
    ("gate", "domain"), [("plan", None), ("stop_writes", "logs"), ("clients_moved", "logs")]
)
def test_a_message_says_how_the_gate_is_answered(
    make_job: MakeJob,
    storage: Storage,
    events: Events,
    announcements: Announcements,
    gate: Gate,
    domain: str | None,
) -> None:
    gates.announce(storage.records, announcements.topic, events.bus, make_job(), gate, TOKEN)

    [message] = announcements.messages
    commands = re.findall(r"^  (snapferry .*)$", message["message"], re.MULTILINE)
    words = [shlex.split(command)[1:] for command in commands]
    assert [name for name, *_ in words] == ["approve", "approve", "watch"]
    go_on, give_up, watch = map(parser().parse_args, words)
    for answer in (go_on, give_up):
        assert (answer.migration_id, answer.gate, answer.domain) == ("m-1", gate, domain)
    assert (go_on.reject, give_up.reject) == (None, "your reason")
    assert {each.stack for each in (go_on, give_up, watch)} == {"snapferry"}
    assert watch.migration_id == "m-1"


@pytest.mark.parametrize(
    ("gate", "stays_blocked"), [("plan", False), ("stop_writes", False), ("clients_moved", True)]
)
def test_a_message_promises_only_what_a_rejection_brings(
    make_job: MakeJob,
    storage: Storage,
    events: Events,
    announcements: Announcements,
    gate: Gate,
    stays_blocked: bool,
) -> None:
    gates.announce(storage.records, announcements.topic, events.bus, make_job(), gate, TOKEN)

    [message] = announcements.messages
    given_up = message["message"].partition("Give up")[2].partition("\n")[0]
    assert ("have everything given back" in given_up) != stays_blocked
    assert ("the source stays blocked" in given_up) == stays_blocked
    prompt = storage.items["m-1", f"gate#{'all domains' if gate == 'plan' else 'logs'}#{gate}"]
    assert ("no answer in time" in str(prompt["prompt"])) == stays_blocked


@pytest.mark.parametrize(
    ("mode", "nothing_before"),
    [("migrate", True), ("snapshot_only", True), ("restore_only", False)],
)
def test_the_gate_of_the_plan_says_what_was_changed_before(
    make_job: MakeJob,
    storage: Storage,
    events: Events,
    announcements: Announcements,
    mode: str,
    nothing_before: bool,
) -> None:
    job = make_job(mode=mode)

    gates.announce(storage.records, announcements.topic, events.bus, job, "plan", TOKEN)

    message = announcements.messages[0]["message"]
    assert ("Nothing is changed before." in message) == nothing_before
    assert ("No index is restored before" in message) != nothing_before


@pytest.mark.parametrize("gate", get_args(Gate))
def test_no_message_can_answer_a_gate(
    make_job: MakeJob, storage: Storage, events: Events, announcements: Announcements, gate: Gate
) -> None:
    gates.announce(storage.records, announcements.topic, events.bus, make_job(), gate, TOKEN)

    [message] = announcements.messages
    assert TOKEN not in " ".join(message.values())
    assert "http" not in " ".join(message.values())


def test_the_longest_name_fits_into_the_subject(
    make_job: MakeJob, storage: Storage, events: Events, announcements: Announcements
) -> None:
    job = make_job(domain__name="l" * 40)

    gates.announce(storage.records, announcements.topic, events.bus, job, "clients_moved", TOKEN)

    assert f"({job.domain.name})" in announcements.messages[0]["subject"]


def test_the_gate_says_how_long_writes_will_stop(
    make_job: MakeJob, storage: Storage, events: Events, announcements: Announcements
) -> None:
    tally = Tally(steps_seconds=1.1, slices=[SliceTally(by_snapshot=2)])
    tally.slices[0].add("lag fits", Round(1.0, []))
    tally.keep(storage.records, "logs")

    gates.announce(
        storage.records,
        announcements.topic,
        events.bus,
        make_job(),
        "stop_writes",
        TOKEN,
    )

    message = announcements.messages[0]["message"]
    assert "it takes about 2.5 s (1.2 to 5.0 s) until" in message
    assert "2 indices need a last snapshot." in message
    assert "longer" not in message


def test_people_who_are_asked_anew_are_told_why(
    make_job: MakeJob, storage: Storage, events: Events, announcements: Announcements
) -> None:
    storage.records.write("logs/write-stops-given-up", {"1": "a: made", "2": "b: written to"})
    storage.records.write("logs/late-indices", ["orders-3"])

    for gate in get_args(Gate):
        gates.announce(storage.records, announcements.topic, events.bus, make_job(), gate, TOKEN)

    plan, stop_writes, clients_moved = (each["message"] for each in announcements.messages)
    assert "Writes were stopped before, and that was given up: b: written to." in stop_writes
    assert "they have made or written to orders-3 there, and nothing moves that." in clients_moved
    for text in (plan, stop_writes):
        assert "orders-3" not in text


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
        tally.slices[0].add("lag fits", Round(1.0, [IndexRound("a", lag=lag)]))
    tally.keep(storage.records, "logs")
    job = make_job(cutover={"write_stop_seconds": 1, "catch_up_rounds": 2})

    gates.announce(storage.records, announcements.topic, events.bus, job, "stop_writes", TOKEN)

    message = announcements.messages[0]["message"]
    assert "longer than the 1 s that are wanted" in message
    assert trend in message
    assert "Reject the gate" in message


def test_programs_are_told_of_each_gate_and_when_writes_may_be_stopped(
    make_job: MakeJob, storage: Storage, announcements: Announcements, events: Events
) -> None:
    for gate in get_args(Gate):
        gates.announce(storage.records, announcements.topic, events.bus, make_job(), gate, TOKEN)

    told = [(event, detail.get("gate"), detail["domain"]) for event, detail in events.fake.told]
    assert told == [
        ("GateOpened", "plan", gates.ALL_DOMAINS),
        ("GateOpened", "stop_writes", "logs"),
        ("ReadyForCutover", None, "logs"),
        ("GateOpened", "clients_moved", "logs"),
    ]
    assert TOKEN not in str(events.fake.told)
    opened = {detail["gate"]: detail for event, detail in events.fake.told if "gate" in detail}
    for gate, domain in (("plan", gates.ALL_DOMAINS), ("clients_moved", "logs")):
        item = storage.items["m-1", gates.record(domain, gate)]
        assert opened[gate]["answer_until"] == item["deadline"]
