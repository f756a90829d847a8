import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from snapferry.catchup import WRITE_BLOCK
from snapferry.journal import BUCKET, Place, side_of
from tests.unit.cli.aws import CALLER, ROLL_BACK, STATES, FakeAws
from tests.unit.cli.conftest import Run
from tests.unit.conftest import DESTINATION

ROLLER = f"{STATES}:execution:roll-back:made-1"
REPOSITORY = Place(DESTINATION, "repository", "snapferry-m-1-logs")
STATEMENT = Place(BUCKET, "policy_statement", "Snapferry")
SNAPSHOT = Place(side_of("logs"), "running_snapshot", "one")


class Value:
    """Something in the outside world."""

    def __init__(self) -> None:
        self.value: Any = None

    def read(self) -> Any:
        return self.value

    def write(self, value: Any) -> None:
        self.value = value


@pytest.fixture
def changed(aws: FakeAws) -> dict[str, Value]:
    """A migration that runs, and what it has changed, by its kind."""
    aws.begin()
    values = {}
    for place in (REPOSITORY, STATEMENT, SNAPSHOT):
        values[place.kind] = Value()
        aws.journal.change(place, values[place.kind], "ours")
    return values


@pytest.fixture
def roll_back(aws: FakeAws, changed: dict[str, Value]) -> Callable[[], None]:
    """What the state machine does, in one step; it is there only while the command waits."""

    def run() -> None:
        roller = next((arn for arn in aws.executions if ":roll-back:" in arn), None)
        if roller is None:
            roller = ROLLER
            aws.executions[roller] = {"status": "RUNNING", "startDate": 1.0}
        assert aws.fence.close(roller)
        aws.journal.give_back(lambda place: changed[place.kind])
        aws.fence.end()
        aws.end(roller, output="{}")

    return run


PLACES = {str(REPOSITORY), str(STATEMENT), str(SNAPSHOT)}


def test_gives_back_what_was_changed(
    aws: FakeAws, run: Run, changed: dict[str, Value], roll_back: Callable[[], None]
) -> None:
    arn = f"{STATES}:execution:migrate:m-1"
    aws.end(arn, "TIMED_OUT")
    changed["repository"].write("theirs")
    aws.events.append(roll_back)

    said = run("roll-back", "m-1", "--json")

    assert said.code == 0
    [started] = aws.sent("StartExecution")
    assert started["stateMachineArn"] == ROLL_BACK
    assert json.loads(started["input"]) == {"name": "m-1", "executionArn": arn, "gone": []}
    assert said.document["state"] == "ended"
    assert set(said.document["given_back"]) == {str(STATEMENT), str(SNAPSHOT)}
    [note] = said.document["foreign"]
    assert note.startswith(f"{REPOSITORY}: someone else made it")
    assert (said.document["open"], said.document["failure"]) == ([], None)


def test_tells_what_clients_that_have_moved_may_rest_on(
    aws: FakeAws,
    run: Run,
    changed: dict[str, Value],  # noqa: ARG001
    roll_back: Callable[[], None],
) -> None:
    aws.end(f"{STATES}:execution:migrate:m-1", "FAILED")
    aws.journal.keep(REPOSITORY.side, {REPOSITORY.kind})
    aws.journal.hand_over([STATEMENT])
    aws.events.append(roll_back)

    said = run("roll-back", "m-1", "--json")

    [note] = said.document["kept"]
    assert note.startswith(str(REPOSITORY))
    assert said.document["handed_over"] == [str(STATEMENT)]
    assert said.document["open"] == []


def test_tells_people_what_was_given_back(
    aws: FakeAws, run: Run, roll_back: Callable[[], None]
) -> None:
    aws.end(f"{STATES}:execution:migrate:m-1", "FAILED")
    aws.events.append(roll_back)

    said = run("roll-back", "m-1")

    assert said.code == 0
    assert said.out.startswith(
        "Changes to be given back: 3, write blocks among them: 0\nGiven back:\n"
    )
    for place in PLACES:
        assert f"  {place}\n" in said.out


def test_people_see_whether_the_source_takes_writes(
    aws: FakeAws, run: Run, changed: dict[str, Value], roll_back: Callable[[], None]
) -> None:
    block = Place(side_of("logs"), WRITE_BLOCK, "orders")
    blocked = changed[block.kind] = Value()
    aws.journal.change(block, blocked, "true")
    aws.end(f"{STATES}:execution:migrate:m-1", "FAILED")

    def take_off() -> None:
        aws.journal.give_back(lambda _: blocked, {block.kind})

    aws.events.extend([lambda: None, take_off, roll_back])
    aws.executions[ROLLER] = {"status": "RUNNING", "startDate": 1.0}
    aws.fence.close(ROLLER)

    said = run("roll-back", "m-1")

    assert said.out.startswith(
        "Changes to be given back: 4, write blocks among them: 1\n"
        "Changes to be given back: 3, write blocks among them: 0\n"
    )


def test_people_see_that_the_source_stays_blocked_after_the_hand_over(
    aws: FakeAws, run: Run, changed: dict[str, Value], roll_back: Callable[[], None]
) -> None:
    block = Place(side_of("logs"), WRITE_BLOCK, "orders")
    changed[block.kind] = Value()
    aws.journal.change(block, changed[block.kind], "true")
    aws.journal.keep(block.side, {block.kind})
    aws.end(f"{STATES}:execution:migrate:m-1", "ABORTED")
    aws.events.append(roll_back)

    said = run("roll-back", "m-1")

    assert said.out.startswith(
        "Changes to be given back: 3, write blocks among them: 0. Kept, so that the source stays "
        "blocked: 1\n"
    )


@pytest.mark.parametrize(
    ("typed", "options", "code"), [("n\n", (), 1), ("", (), 2), ("", ("--json",), 2)]
)
def test_a_migration_that_runs_is_not_ended_unasked(
    aws: FakeAws,
    run: Run,
    changed: dict[str, Value],
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    options: tuple[str, ...],
    code: int,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))

    assert run("roll-back", "m-1", *options).code == code

    assert not aws.sent("StartExecution")
    assert changed["repository"].value == "ours"


def test_a_migration_that_runs_is_ended_after_yes(
    aws: FakeAws, run: Run, roll_back: Callable[[], None]
) -> None:
    aws.events.append(roll_back)

    assert run("roll-back", "m-1", "--yes").code == 0

    assert len(aws.sent("StartExecution")) == 1


def test_a_roll_back_that_was_just_started_may_be_seen_late(
    aws: FakeAws, run: Run, roll_back: Callable[[], None]
) -> None:
    aws.end(f"{STATES}:execution:migrate:m-1", "FAILED")
    aws.unknown_looks = 3
    aws.events.extend([*[lambda: None] * 3, roll_back])

    said = run("roll-back", "m-1", "--json")

    assert (said.code, said.document["failure"]) == (0, None)


def test_what_could_not_be_given_back_is_named(
    aws: FakeAws, run: Run, changed: dict[str, Value]
) -> None:
    def fail() -> None:
        [roller] = [arn for arn in aws.executions if ":roll-back:" in arn]
        aws.fence.close(roller)
        aws.end(roller, "FAILED", error="NotGivenBack", cause="the bucket denies access")

    aws.end(f"{STATES}:execution:migrate:m-1", "FAILED")
    aws.events.append(fail)

    said = run("roll-back", "m-1", "--json")

    assert said.code == 1
    assert set(said.document["open"]) == PLACES
    assert said.document["failure"] == "NotGivenBack: the bucket denies access"
    assert changed["repository"].value == "ours"


def test_another_attempt_follows_one_that_failed(
    aws: FakeAws, run: Run, changed: dict[str, Value]
) -> None:
    aws.end(f"{STATES}:execution:migrate:m-1", "FAILED")
    aws.executions[ROLLER] = {"status": "FAILED", "startDate": 1.0, "stopDate": 2.0}
    aws.fence.close(ROLLER)

    def take_over() -> None:
        [roller] = {arn for arn in aws.executions if ":roll-back:" in arn} - {ROLLER}
        assert aws.fence.close(roller, ended_roller_arn=ROLLER)
        aws.journal.give_back(lambda place: changed[place.kind])
        aws.fence.end()
        aws.end(roller)

    # A look before it has taken over, too: the earlier one's end isn't its own.
    aws.events.extend([lambda: None, take_over])

    assert run("roll-back", "m-1").code == 0
    assert changed["repository"].value is None


def test_one_that_runs_is_followed_and_none_is_started(
    aws: FakeAws, run: Run, roll_back: Callable[[], None]
) -> None:
    aws.executions[ROLLER] = {"status": "RUNNING", "startDate": 1.0}
    aws.fence.close(ROLLER)
    aws.events.append(roll_back)

    assert run("roll-back", "m-1").code == 0
    assert not aws.sent("StartExecution")


def test_what_was_changed_on_a_cluster_that_is_gone_is_given_up(
    aws: FakeAws, run: Run, changed: dict[str, Value], roll_back: Callable[[], None]
) -> None:
    """Also while another one runs, which waits for that cluster."""
    aws.executions[ROLLER] = {"status": "RUNNING", "startDate": 1.0}
    aws.fence.close(ROLLER)
    aws.end(f"{STATES}:execution:migrate:m-1", "FAILED")

    def take_over() -> None:
        aws.end(ROLLER, "FAILED", error="NotGivenBack", cause="")
        aws.journal.give_up(REPOSITORY.side)
        roll_back()

    aws.events.append(take_over)

    said = run("roll-back", "m-1", "--gone", REPOSITORY.side, "--yes", "--json")

    assert said.code == 0
    [started] = aws.sent("StartExecution")
    assert json.loads(started["input"])["gone"] == [REPOSITORY.side]
    [note] = said.document["foreign"]
    assert note.startswith(f"{REPOSITORY}: people gave it up")
    assert changed["repository"].value == "ours"
    assert said.document["open"] == []


def test_a_side_that_was_not_changed_is_not_gone(
    aws: FakeAws,
    run: Run,
    changed: dict[str, Value],  # noqa: ARG001
) -> None:
    said = run("roll-back", "m-1", "--gone", "source/orders")

    assert said.code == 3
    assert f"give one of bucket, {REPOSITORY.side}, {SNAPSHOT.side}" in said.err
    assert not aws.sent("StartExecution")


def test_one_that_has_ended_is_told(aws: FakeAws, run: Run, roll_back: Callable[[], None]) -> None:
    roll_back()

    said = run("roll-back", "m-1", "--json")

    assert set(said.document["given_back"]) == PLACES
    assert not aws.sent("StartExecution")


def test_a_migration_that_changed_nothing(aws: FakeAws, run: Run) -> None:
    aws.end(aws.begin(marked=False), "FAILED")

    said = run("roll-back", "m-1")

    assert (said.code, said.out) == (0, "The migration m-1 has changed nothing.\n")
    assert not aws.sent("StartExecution")


def test_a_migration_that_has_changed_nothing_yet(aws: FakeAws, run: Run) -> None:
    aws.begin(marked=False)

    said = run("roll-back", "m-1", "--yes")

    assert said.code == 1
    assert "snapferry abort m-1" in said.err


def test_an_unknown_migration_is_refused(aws: FakeAws, run: Run) -> None:
    said = run("roll-back", "m-2", "--yes")

    assert said.code == 3
    assert "no migration 'm-2'" in said.err
    assert not aws.sent("StartExecution")


def test_ctrl_c_leaves_the_roll_back_running(
    aws: FakeAws, run: Run, changed: dict[str, Value]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert changed
    aws.events.append(interrupt)

    said = run("roll-back", "m-1", "--yes")

    assert said.code == 130
    assert "The roll-back goes on. `snapferry roll-back m-1`" in said.err


# Abort


def test_abort_ends_the_migration_and_follows_the_roll_back(
    aws: FakeAws, run: Run, roll_back: Callable[[], None]
) -> None:
    arn = f"{STATES}:execution:migrate:m-1"
    aws.events.extend([lambda: None, roll_back])

    said = run("abort", "m-1", "--json")

    assert said.code == 0
    assert aws.sent("StopExecution") == [
        {"executionArn": arn, "error": "Aborted", "cause": f"aborted by {CALLER}"}
    ]
    assert not aws.sent("StartExecution")
    assert set(said.document["given_back"]) == PLACES


def test_abort_says_what_happens(aws: FakeAws, run: Run, roll_back: Callable[[], None]) -> None:
    aws.events.append(roll_back)

    said = run("abort", "m-1")

    assert said.out.startswith(f"Ended m-1 as {CALLER}.\nThe roll-back begins by itself.\n")


def test_abort_again_follows_the_roll_back(
    aws: FakeAws, run: Run, roll_back: Callable[[], None]
) -> None:
    aws.end(f"{STATES}:execution:migrate:m-1", "ABORTED", error="Aborted", cause="by anna")
    aws.events.append(roll_back)

    said = run("abort", "m-1")

    assert said.code == 0
    assert "m-1 has ended already: ABORTED." in said.out
    assert not aws.sent("StopExecution")


def test_abort_during_the_migrations_own_roll_back_waits_for_the_next_one(
    aws: FakeAws, run: Run, changed: dict[str, Value]
) -> None:
    own = f"{STATES}:execution:roll-back:own"
    aws.executions[own] = {"status": "ABORTED", "startDate": 1.0, "stopDate": 2.0}
    aws.fence.close(own)

    def take_over() -> None:
        aws.executions[ROLLER] = {"status": "RUNNING", "startDate": 1.0}
        assert aws.fence.close(ROLLER, ended_roller_arn=own)
        aws.journal.give_back(lambda place: changed[place.kind])
        aws.fence.end()

    aws.events.append(take_over)

    assert run("abort", "m-1").code == 0


def test_abort_does_not_wait_for_ever_for_a_roll_back(
    aws: FakeAws, run: Run, changed: dict[str, Value]
) -> None:
    assert changed
    aws.events.extend([lambda: None] * 100)

    said = run("abort", "m-1")

    assert said.code == 4
    assert "`snapferry roll-back m-1` begins it" in said.err


def test_abort_of_what_changed_nothing(aws: FakeAws, run: Run) -> None:
    aws.begin(marked=False)

    said = run("abort", "m-1")

    assert said.code == 0
    assert said.out.endswith("The migration m-1 has changed nothing.\n")
    assert aws.executions[f"{STATES}:execution:migrate:m-1"]["status"] == "ABORTED"


def test_abort_of_what_has_succeeded(aws: FakeAws, run: Run) -> None:
    aws.end(aws.begin())

    said = run("abort", "m-1")

    assert said.code == 1
    assert "has succeeded already" in said.err
    assert not aws.sent("StopExecution")
