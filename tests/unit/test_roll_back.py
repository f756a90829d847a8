import re
import shlex
import time
from collections.abc import Callable
from typing import Any

import pytest

from snapferry import leases, repositories, roll_back, snapshots
from snapferry.errors import Conflict, MigrationEnded, RollBackInProgress, Unavailable
from snapferry.fence import Fence
from snapferry.journal import Place, side_of
from snapferry.leases import Lease
from snapferry.request import DomainJob
from snapferry_cli.main import parser
from tests.unit.conftest import (
    DESTINATION,
    TOPIC_ARN,
    Announcements,
    Events,
    Executions,
    Side,
    Storage,
)
from tests.unit.fakes import FakeExecution, FakeIndex, FakeStepFunctions, Fault
from tests.unit.told_metrics import told

STATES = "arn:aws:states:eu-west-1:222222222222"
EXECUTION = f"{STATES}:execution:snapferry-migrate:m-1"
DOMAIN = f"{STATES}:execution:snapferry-migrate-domain:1"
SNAPSHOT = f"{STATES}:execution:snapferry-snapshot:1"
RESTORE = f"{STATES}:execution:snapferry-restore:1"
ROLLER = f"{STATES}:execution:snapferry-roll-back:1"
SECOND_ROLLER = f"{STATES}:execution:snapferry-roll-back:2"
ROLL_BACK = f"{STATES}:stateMachine:snapferry-roll-back"

type Connect = Callable[[Place], Any]


# Begin


@pytest.fixture
def begun(storage: Storage, executions: Executions) -> Fence:
    """A migration that runs, and two executions that may roll it back."""
    executions.fake.executions = {ROLLER: FakeExecution(), SECOND_ROLLER: FakeExecution()}
    storage.fence.open(EXECUTION)
    return storage.fence


def roller_of(fence: Fence) -> str | None:
    mark = fence.mark()
    assert mark is not None
    return mark.roller_arn


def test_nothing_may_be_changed_once_the_roll_back_has_begun(
    begun: Fence, executions: Executions
) -> None:
    assert roll_back.begin(begun, executions.client, EXECUTION, ROLLER)["needed"]

    with pytest.raises(MigrationEnded, match="rolling back"), begun.effect("1", 1_000):
        pytest.fail("the effect was let pass")


def test_beginning_may_be_repeated(begun: Fence, executions: Executions) -> None:
    for _ in range(2):
        assert roll_back.begin(begun, executions.client, EXECUTION, ROLLER)["needed"]

    assert roller_of(begun) == ROLLER


def test_migration_that_never_began_has_nothing_to_give_back(
    storage: Storage, executions: Executions
) -> None:
    answer = roll_back.begin(storage.fence, executions.client, EXECUTION, ROLLER)

    assert answer == {
        "needed": False,
        "reason": "the migration ended before it changed anything",
    }


def test_migration_that_was_stopped_before_it_began_does_not_begin_any_more(
    storage: Storage, executions: Executions
) -> None:
    """Its function may be late: what it took then would be nobody's to give back."""
    roll_back.begin(storage.fence, executions.client, EXECUTION, ROLLER)

    with pytest.raises(Conflict):
        storage.fence.open(EXECUTION)

    for _ in range(2):
        answer = roll_back.begin(storage.fence, executions.client, EXECUTION, SECOND_ROLLER)
        assert not answer["needed"]


def test_execution_that_was_refused_for_its_name_does_not_end_the_one_that_has_it(
    begun: Fence, executions: Executions
) -> None:
    refused = EXECUTION.replace("migrate", "migrate-of-another-stack")

    assert not roll_back.begin(begun, executions.client, refused, ROLLER)["needed"]

    with begun.effect("1", 1_000):
        pass


def test_migration_that_was_given_back_is_not_given_back_again(
    begun: Fence, executions: Executions
) -> None:
    begun.close(ROLLER)
    begun.end()

    answer = roll_back.begin(begun, executions.client, EXECUTION, SECOND_ROLLER)

    assert answer == {"needed": False, "reason": "everything has been given back before"}


def test_roll_back_that_runs_is_waited_for(begun: Fence, executions: Executions) -> None:
    """It may be about to be stopped, with the migration that has started it."""
    roll_back.begin(begun, executions.client, EXECUTION, ROLLER)

    with pytest.raises(RollBackInProgress, match=ROLLER):
        roll_back.begin(begun, executions.client, EXECUTION, SECOND_ROLLER)

    assert roller_of(begun) == ROLLER


@pytest.mark.parametrize("status", ["FAILED", "ABORTED", "TIMED_OUT", "SUCCEEDED", None])
def test_roll_back_that_ended_before_it_was_done_is_taken_over(
    begun: Fence, executions: Executions, status: str | None
) -> None:
    roll_back.begin(begun, executions.client, EXECUTION, ROLLER)
    del executions.fake.executions[ROLLER]
    if status:
        executions.fake.executions[ROLLER] = FakeExecution(status)

    assert roll_back.begin(begun, executions.client, EXECUTION, SECOND_ROLLER)["needed"]
    assert roller_of(begun) == SECOND_ROLLER


def test_one_of_two_that_take_over_at_once_does(begun: Fence, executions: Executions) -> None:
    third = f"{STATES}:execution:snapferry-roll-back:3"
    begun.close(ROLLER)
    executions.fake.executions[ROLLER].status = "FAILED"

    class Overtaken(FakeStepFunctions):
        def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
            begun.close(third, ended_roller_arn=ROLLER)
            return super().describe_execution(executionArn=executionArn)

    overtaken = Overtaken()
    overtaken.executions = executions.fake.executions

    with pytest.raises(RollBackInProgress):
        roll_back.begin(begun, Executions(overtaken).client, EXECUTION, SECOND_ROLLER)

    assert roller_of(begun) == third


# Stop executions


@pytest.fixture
def tree(executions: Executions) -> dict[str, FakeExecution]:
    """A migration that takes a snapshot after a restore, and its roll-backs."""
    executions.fake.executions = {
        EXECUTION: FakeExecution(children=[DOMAIN, ROLLER]),
        DOMAIN: FakeExecution(children=[RESTORE, SNAPSHOT]),
        RESTORE: FakeExecution("SUCCEEDED"),
        SNAPSHOT: FakeExecution(),
        ROLLER: FakeExecution(),
        SECOND_ROLLER: FakeExecution(),
    }
    return executions.fake.executions


def test_everything_that_runs_is_stopped_but_roll_backs(
    tree: dict[str, FakeExecution], executions: Executions
) -> None:
    stopped = roll_back.stop_executions(executions.client, EXECUTION, SECOND_ROLLER, None)

    assert sorted(stopped) == sorted([EXECUTION, DOMAIN, SNAPSHOT])
    assert {name: execution.status for name, execution in tree.items()} == {
        EXECUTION: "ABORTED",
        DOMAIN: "ABORTED",
        RESTORE: "SUCCEEDED",
        SNAPSHOT: "ABORTED",
        ROLLER: "RUNNING",
        SECOND_ROLLER: "RUNNING",
    }
    assert {tree[name].error for name in stopped} == {"RolledBack"}
    assert roll_back.stop_executions(executions.client, EXECUTION, SECOND_ROLLER, None) == []


def test_migration_that_started_the_roll_back_goes_on_without_its_children(
    tree: dict[str, FakeExecution], executions: Executions
) -> None:
    stopped = roll_back.stop_executions(executions.client, EXECUTION, ROLLER, EXECUTION)

    assert sorted(stopped) == sorted([DOMAIN, SNAPSHOT])
    assert tree[EXECUTION].status == tree[ROLLER].status == "RUNNING"


def test_children_of_executions_that_ended_are_stopped(
    tree: dict[str, FakeExecution], executions: Executions
) -> None:
    tree[EXECUTION].status = "ABORTED"
    tree[DOMAIN].status = "FAILED"

    stopped = roll_back.stop_executions(executions.client, EXECUTION, ROLLER, None)

    assert stopped == [SNAPSHOT]
    assert (tree[EXECUTION].error, tree[DOMAIN].error) == (None, None)


def test_what_has_succeeded_is_not_searched_for_children(
    tree: dict[str, FakeExecution], executions: Executions
) -> None:
    """It has waited for them. A fleet has thousands, and Step Functions answers few a second."""
    tree[EXECUTION].status = "ABORTED"
    tree[DOMAIN].status = "SUCCEEDED"
    # Would be stopped if it were found.
    tree[DOMAIN].children = [SNAPSHOT]

    assert roll_back.stop_executions(executions.client, EXECUTION, ROLLER, None) == []


@pytest.mark.usefixtures("tree")
def test_child_that_was_started_at_the_last_moment_is_stopped(executions: Executions) -> None:
    class Late(FakeStepFunctions):
        def stop_execution(self, *, executionArn: str, error: str, cause: str) -> None:  # noqa: N803
            late = f"{executionArn}-late"
            if executionArn == DOMAIN:
                self.executions[DOMAIN].children.append(late)
                self.executions[late] = FakeExecution()
            super().stop_execution(executionArn=executionArn, error=error, cause=cause)

    late = Late()
    late.executions = executions.fake.executions

    stopped = roll_back.stop_executions(Executions(late).client, EXECUTION, ROLLER, None)

    assert f"{DOMAIN}-late" in stopped
    assert late.executions[f"{DOMAIN}-late"].status == "ABORTED"


def test_executions_that_are_forgotten_have_nothing_to_be_stopped(
    tree: dict[str, FakeExecution], executions: Executions
) -> None:
    tree[EXECUTION].status = "FAILED"
    del tree[DOMAIN]
    assert roll_back.stop_executions(executions.client, EXECUTION, ROLLER, None) == []
    del tree[EXECUTION]
    assert roll_back.stop_executions(executions.client, EXECUTION, ROLLER, None) == []


# Check functions


def test_functions_at_work_are_waited_for_in_short_steps(begun: Fence) -> None:
    with begun.effect("1", 60_000):
        assert roll_back.check_functions(begun) == {"at_work": True, "wait_seconds": 10}
    assert roll_back.check_functions(begun) == {"at_work": False, "wait_seconds": 1}


# Give back


@pytest.fixture
def clusters(source: Side, destination: Side) -> dict[str, Side]:
    return {side_of("logs"): source, DESTINATION: destination}


@pytest.fixture
def connect(clusters: dict[str, Side]) -> Connect:
    return lambda place: clusters[place.side].client


@pytest.fixture
def changed(source: Side, destination: Side, storage: Storage, job: DomainJob) -> None:
    """A migration whose snapshot runs."""
    source.cluster.indices = {"logs": FakeIndex()}
    source.cluster.bytes_per_second = 0
    repositories.register_source(storage.journal, source.client, job)
    repositories.register_destination(storage.journal, destination.client, job)
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])


@pytest.mark.usefixtures("changed")
def test_everything_is_given_back(
    source: Side, destination: Side, storage: Storage, connect: Connect
) -> None:
    outcome = roll_back.give_back(storage.journal, storage.records, connect, float("inf"))

    assert outcome == {"done": 3, "waiting": 0, "failed": [], "foreign": [], "kept": []}
    assert source.cluster.repositories == destination.cluster.repositories == {}
    assert source.cluster.bucket == {"snapferry/logs": {}}
    assert len(storage.records.read("roll_back")["done"]) == 3


@pytest.mark.usefixtures("changed")
def test_side_that_fails_is_tried_again(
    source: Side, destination: Side, storage: Storage, connect: Connect
) -> None:
    source.cluster.faults = [Fault("DELETE .*", (503, {"message": "busy"}))]

    first = roll_back.give_back(storage.journal, storage.records, connect, float("inf"))

    assert (first["done"], first["waiting"], first["foreign"]) == (1, 1, [])
    [failed] = first["failed"]
    assert failed.startswith("running snapshot snapferry-m-1-logs/snapferry-m-1-logs-1 (source/")
    assert "busy" in failed
    assert destination.cluster.repositories == {}
    assert source.cluster.repositories

    second = roll_back.give_back(storage.journal, storage.records, connect, float("inf"))
    assert second == {"done": 2, "waiting": 0, "failed": [], "foreign": [], "kept": []}
    assert source.cluster.repositories == {}


@pytest.mark.usefixtures("changed")
def test_what_was_changed_on_a_side_that_is_gone_is_given_up(
    source: Side, destination: Side, storage: Storage, connect: Connect
) -> None:
    source.cluster.faults = [Fault(".*", (503, {"message": "gone"}), times=float("inf"))]
    gone = [side_of("logs")]

    outcome = roll_back.give_back(storage.journal, storage.records, connect, float("inf"), gone)

    assert (outcome["done"], outcome["waiting"], outcome["failed"]) == (1, 0, [])
    assert all("people gave it up" in note for note in outcome["foreign"])
    assert len(outcome["foreign"]) == 2
    assert destination.cluster.repositories == {}
    assert not source.cluster.sent("DELETE .*")
    # And stays so.
    again = roll_back.give_back(storage.journal, storage.records, connect, float("inf"))
    assert again == outcome | {"done": 0}


@pytest.mark.usefixtures("changed")
def test_what_is_left_for_the_next_call_waits(storage: Storage, connect: Connect) -> None:
    outcome = roll_back.give_back(storage.journal, storage.records, connect, leave_at=0)

    assert outcome == {"done": 0, "waiting": 3, "failed": [], "foreign": [], "kept": []}


@pytest.mark.usefixtures("changed")
def test_what_others_changed_is_told_each_time(
    source: Side, storage: Storage, job: DomainJob, connect: Connect
) -> None:
    source.cluster.repositories[job.repository] = {"bucket": "theirs", "base_path": "theirs"}

    for _ in range(2):
        outcome = roll_back.give_back(storage.journal, storage.records, connect, float("inf"))
        [note] = outcome["foreign"]
        assert note.startswith(f"repository {job.repository} (source/logs): someone else made it")
        assert storage.records.read("roll_back")["foreign"] == [note]


def test_many_long_notes_are_cut_and_kept_whole_in_the_records(
    source: Side, storage: Storage
) -> None:
    for number in range(12):
        name = f"r-{number:02}"
        storage.journal.change(
            Place(side_of(name), "repository", name),
            repositories.Repository(source.client, name, {"bucket": "b", "base_path": name}),
            {"bucket": "b", "base_path": name, "canned_acl": None},
        )

    def connect(place: Place) -> Any:
        raise Unavailable(f"{place.side} can't be reached: {'x' * 1_000}")

    outcome = roll_back.give_back(storage.journal, storage.records, connect, float("inf"))

    *notes, more = outcome["failed"]
    assert more == "and 2 more"
    assert len(notes) == 10
    assert {len(note) for note in notes} == {500}
    whole = storage.records.read("roll_back")["failed"]
    assert len(whole) == 12
    assert all("x" * 1_000 in note for note in whole)


# Report and end


def test_people_are_told_what_is_left_and_what_to_do(announcements: Announcements) -> None:
    roll_back.report_leftovers(announcements.topic, "m-1", ["first", "second"], [])

    [message] = announcements.messages
    assert message["topic"] == TOPIC_ARN
    assert "\n- first\n- second\n" in message["message"]
    assert "handed the indices over" not in message["message"]
    commands = re.findall(r"^  (snapferry .*)$", message["message"], re.MULTILINE)
    words = [shlex.split(command)[1:] for command in commands]
    assert [name for name, *_ in words] == ["roll-back"]
    for asked in map(parser().parse_args, words):
        assert (asked.migration_id, asked.stack) == ("m-1", "snapferry")
    assert "m-1" in message["subject"]


def test_people_are_told_what_is_left_to_them_after_the_hand_over(
    announcements: Announcements,
) -> None:
    roll_back.report_leftovers(announcements.topic, "m-1", [], ["block of logs", "block of orders"])

    [message] = announcements.messages
    text = message["message"]
    assert "\n- block of logs\n- block of orders\n" in text
    assert "could not be given back" not in text
    assert "find out whether the destination has taken writes. If it has, keep the source's" in text
    assert "if it has not, set index.blocks.write of these indices to null, delete those" in text


def test_longest_id_fits_into_the_subject(announcements: Announcements) -> None:
    roll_back.report_leftovers(announcements.topic, "m" * 80, ["x"], [])

    [message] = announcements.messages
    assert "m" * 80 in message["message"]


def test_end_gives_up_the_leases_of_this_migration(
    begun: Fence, storage: Storage, events: Events
) -> None:
    leases.acquire(storage.table, ["bucket a", "destination a"], "m-1", EXECUTION)
    leases.acquire(storage.table, ["bucket b"], "m-2", EXECUTION.replace("m-1", "m-2"))

    for _ in range(2):
        roll_back.end(begun, storage.table, events.bus)

    assert [lease.migration_id for lease in leases.held(storage.table)] == ["m-2"]
    mark = begun.mark()
    assert mark is not None
    assert mark.state == "ended"


# Sweep


@pytest.fixture
def expired(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> list[Lease]:
    """Two leases of one migration, neither of which was renewed in time."""
    with monkeypatch.context() as patch:
        patch.setattr(leases, "LEASE_SECONDS", -10)
        leases.acquire(storage.table, ["bucket a", "destination a"], "m-1", EXECUTION)
    return list(leases.held(storage.table))


def sweep(storage: Storage, executions: Executions) -> list[str]:
    return roll_back.sweep(storage.table, executions.client, ROLL_BACK, time.time())


def roll_backs(executions: Executions) -> list[Any]:
    prefix = ROLL_BACK.replace(":stateMachine:", ":execution:")
    return [
        execution.input
        for name, execution in executions.fake.executions.items()
        if name.startswith(f"{prefix}:")
    ]


def test_leases_of_what_runs_are_renewed(
    storage: Storage, executions: Executions, expired: list[Lease]
) -> None:
    executions.fake.executions = {EXECUTION: FakeExecution()}

    assert sweep(storage, executions) == []

    renewed = list(leases.held(storage.table))
    assert len(renewed) == len(expired)
    assert min(lease.expires_at for lease in renewed) > max(lease.expires_at for lease in expired)
    assert roll_backs(executions) == []


@pytest.mark.usefixtures("expired")
@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT", None])
def test_migration_that_ended_unseen_is_rolled_back_once(
    storage: Storage,
    executions: Executions,
    capsys: pytest.CaptureFixture[str],
    status: str | None,
) -> None:
    executions.fake.executions = {EXECUTION: FakeExecution(status)} if status else {}

    assert sweep(storage, executions) == ["m-1"]
    [line] = told(capsys)
    assert (line["SweptMigrations"], line["migration_id"]) == (1, "m-1")

    assert roll_backs(executions) == [{"name": "m-1", "executionArn": EXECUTION}]


@pytest.mark.usefixtures("expired")
def test_migration_that_is_being_rolled_back_is_left_to_it(
    storage: Storage, executions: Executions, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may take hours, and is no sign of a lost event."""
    fence = Fence(storage.table, "m-1")
    fence.open(EXECUTION)
    fence.close(ROLLER)
    executions.fake.executions = {EXECUTION: FakeExecution("ABORTED"), ROLLER: FakeExecution()}

    assert sweep(storage, executions) == []
    assert len(roll_backs(executions)) == 1

    # What it couldn't give back is tried again, once its leases have expired.
    executions.fake.executions[ROLLER] = FakeExecution("FAILED")
    assert sweep(storage, executions) == []
    later = time.time() + leases.LEASE_SECONDS + 1
    assert roll_back.sweep(storage.table, executions.client, ROLL_BACK, later) == ["m-1"]
    # It was seen when it failed.
    assert told(capsys) == []


def test_each_migration_is_rolled_back_by_itself(
    storage: Storage, executions: Executions, expired: list[Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", -10)
    longest = "m" * 80
    leases.acquire(storage.table, ["bucket b"], longest, EXECUTION.replace("m-1", longest))

    assert sweep(storage, executions) == [expired[0].migration_id, longest]
    assert sorted(started["name"] for started in roll_backs(executions)) == ["m-1", longest]


def test_migration_that_has_just_ended_is_left_to_its_own_roll_back(
    storage: Storage, executions: Executions
) -> None:
    leases.acquire(storage.table, ["bucket a"], "m-1", EXECUTION)
    executions.fake.executions = {EXECUTION: FakeExecution("FAILED")}

    assert sweep(storage, executions) == []
    assert roll_backs(executions) == []
