"""Gives back what a migration has changed, after its end, a failure, an abort or a time-out."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from snapferry import (
    access,
    artifacts,
    catchup,
    cutover,
    executions,
    index_policies,
    leases,
    metrics,
    rehearsal,
    repositories,
    restore_limits,
    security,
    snapshots,
)
from snapferry.errors import RollBackInProgress
from snapferry.events import Bus
from snapferry.fence import Fence
from snapferry.journal import Changeable, Journal, Place
from snapferry.leases import Lease
from snapferry.records import Records
from snapferry.topic import Topic

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_stepfunctions import SFNClient

_CHANGEABLES: Mapping[str, Callable[[Any, str], Changeable]] = {
    **access.CHANGEABLES,
    **repositories.CHANGEABLES,
    **snapshots.CHANGEABLES,
    **restore_limits.CHANGEABLES,
    **security.CHANGEABLES,
    **catchup.CHANGEABLES,
    **index_policies.CHANGEABLES,
    **artifacts.CHANGEABLES,
    **rehearsal.CHANGEABLES,
}
# Looks for functions at work are no rarer than this, since they mostly end at once.
_LONGEST_WAIT_SECONDS = 10
# An execution's output and an SNS message have limits; the records hold everything.
_SHOWN_NOTES = 10
_LONGEST_NOTE = 500


def begin(
    fence: Fence, step_functions: "SFNClient", execution_arn: str, roller_arn: str
) -> dict[str, Any]:
    """Marks a migration as rolling back, unless there is nothing to do for this execution.

    Args:
        fence: of the migration.
        step_functions: is asked whether an earlier roll-back still runs.
        execution_arn: the execution of the migration that has ended, or has to.
        roller_arn: the execution that rolls back.

    Returns:
        `needed`, and `reason` in words.

    Raises:
        RollBackInProgress: another one runs; when it has ended, this one may have to take over.
    """
    if fence.never_open(execution_arn):
        return {"needed": False, "reason": "the migration ended before it changed anything"}
    mark = fence.mark()
    if mark is None or mark.execution_arn != execution_arn:
        return {"needed": False, "reason": "the migration ended before it changed anything"}
    if mark.state == "ended":
        return {"needed": False, "reason": "everything has been given back before"}
    earlier = mark.roller_arn
    if earlier and earlier != roller_arn and _runs(step_functions, earlier):
        raise RollBackInProgress(f"{earlier} is giving everything back")
    if not fence.close(roller_arn, ended_roller_arn=earlier):
        raise RollBackInProgress("another execution is giving everything back")
    return {"needed": True, "reason": "the migration may have changed something"}


def stop_executions(
    step_functions: "SFNClient", execution_arn: str, roller_arn: str, started_by: str | None
) -> list[str]:
    """Stops the migration and all executions that it started, but for those that roll back.

    Their ARNs are read from the history of what started them, which is complete once that has
    been stopped. What has succeeded had waited for all that it started. A start that was on its
    way when its execution was stopped comes too late: the migration is marked as rolling back.

    Args:
        step_functions: the client.
        execution_arn: the migration's execution.
        roller_arn: the execution that rolls back.
        started_by: the execution that started it, if one did; it isn't stopped.

    Returns:
        The ARNs of the executions that were stopped.
    """
    roll_backs = roller_arn.rpartition(":")[0]
    stopped = []
    remaining = [execution_arn]
    while remaining:
        execution = remaining.pop()
        if execution.startswith(f"{roll_backs}:"):
            continue
        status = _status(step_functions, execution)
        if status in (None, "SUCCEEDED"):
            continue
        if execution != started_by and status == "RUNNING":
            step_functions.stop_execution(
                executionArn=execution,
                error="RolledBack",
                cause="The migration is rolled back; nothing may be changed for it any more.",
            )
            stopped.append(execution)
        remaining += executions.started(executions.history(step_functions, execution))
    return stopped


def check_functions(fence: Fence) -> dict[str, Any]:
    """Whether functions may still be changing something.

    Returns:
        `at_work`, and `wait_seconds` until the next look.
    """
    seconds = fence.seconds_until_quiet()
    return {"at_work": seconds > 0, "wait_seconds": min(max(seconds, 1), _LONGEST_WAIT_SECONDS)}


def give_back(
    journal: Journal,
    records: Records,
    connect: Callable[[Place], Any],
    leave_at: float,
    gone: Sequence[str] = (),
) -> dict[str, Any]:
    """Gives changes back, blocks of writes and then the last first, as far as sides can be reached.

    Args:
        journal: of the migration.
        records: takes what came of it, as `roll_back`.
        connect: makes the client for a place.
        leave_at: when to stop, in seconds of the epoch.
        gone: sides that are gone for good: what was changed there is given up.

    Returns:
        `done`, how many were given back; `waiting`, how many are still to be tried; `failed`,
        `foreign` and `kept` (what people have to give back), in words, the first of each.
    """

    def find(place: Place) -> Changeable:
        return _CHANGEABLES[place.kind](connect(place), place.key)

    for side in gone:
        journal.give_up(side)
    artifacts.leave_handed_over(journal, records)
    # Sources take writes again first, whatever else can't be given back.
    cutover.let_sources_go(journal, records, connect)
    unblocked = journal.give_back(find, {catchup.WRITE_BLOCK}, leave_at)
    outcome = journal.give_back(find, leave_at=leave_at)
    outcome.done[:0] = unblocked.done
    foreign, kept = journal.foreign_changes(), journal.kept_changes()
    done = records.read("roll_back", default={"done": []})["done"] + outcome.done
    records.write(
        "roll_back", {"done": done, "failed": outcome.failed, "foreign": foreign, "kept": kept}
    )
    return {
        "done": len(outcome.done),
        "waiting": outcome.waiting,
        "failed": _shown(outcome.failed),
        "foreign": _shown(foreign),
        "kept": _shown(kept),
    }


def report_leftovers(topic: Topic, migration_id: str, failed: list[str], kept: list[str]) -> None:
    """Tells people that something wasn't given back, and what they have to do.

    Args:
        topic: where people listen.
        migration_id: whose changes.
        failed: what couldn't be given back, in words.
        kept: what is theirs to give back, in words.
    """
    message = ""
    if failed:
        message += (
            f"The migration {migration_id} has changed what could not be given back in several "
            f"hours of attempts:\n\n{_listed(failed)}\n\nWhat to do: remove the cause, then run "
            "what stands below.\n"
        )
    if kept:
        message += (
            f"The migration {migration_id} failed after it had handed the indices over, and so it "
            f"leaves these changes of its own:\n\n{_listed(kept)}\n\nWhat to do: find out whether "
            "the destination has taken writes. If it has, keep the source's indices blocked and "
            "point all clients to the destination; if it has not, set index.blocks.write of these "
            "indices to null, delete those at the destination and start the migration again.\n"
        )
    message += f"\nEverything that it has changed:\n  {topic.command('roll-back', migration_id)}\n"
    topic.tell(f"Snapferry did not give everything back: {migration_id}", message)
    metrics.emit({"IncompleteRollBacks": 1}, migration_id=migration_id)


def end(fence: Fence, items: "Table", bus: Bus) -> None:
    """Gives up the migration's leases and marks it as ended, once everything is given back.

    In this order: nobody rolls back a migration that has ended, whatever leases it has.
    """
    leases.release(items, fence.migration_id)
    fence.end()
    bus.tell("RolledBack", fence.migration_id)


def sweep(
    items: "Table", step_functions: "SFNClient", state_machine_arn: str, now: float
) -> list[str]:
    """Finds migrations that ended without a roll-back, since events can be lost.

    The leases of those that run, or are being rolled back, are renewed.

    Args:
        items: the table of the stack.
        step_functions: is asked what runs, and starts roll-backs.
        state_machine_arn: the state machine that rolls back.
        now: in seconds of the epoch.

    Returns:
        The ids of the migrations whose roll-back was started.
    """
    started: set[str] = set()
    for lease in list(leases.held(items)):
        mark = Fence(items, lease.migration_id).mark()
        at_work = {lease.execution_arn, mark.roller_arn if mark else None}
        if any(_runs(step_functions, arn) for arn in at_work if arn):
            leases.renew(items, lease)
        elif lease.expires_at < now and lease.migration_id not in started:
            _start(step_functions, state_machine_arn, lease, now)
            started.add(lease.migration_id)
            # A roll-back that failed is tried again: that one was seen.
            if mark is None or mark.state == "running":
                metrics.emit({"SweptMigrations": 1}, migration_id=lease.migration_id)
    return sorted(started)


def _start(step_functions: "SFNClient", state_machine_arn: str, lease: Lease, now: float) -> None:
    step_functions.start_execution(
        stateMachineArn=state_machine_arn,
        name=f"sweep-{int(now)}-{lease.migration_id}"[:80],
        input=json.dumps({"name": lease.migration_id, "executionArn": lease.execution_arn}),
    )


def _runs(step_functions: "SFNClient", execution_arn: str) -> bool:
    return _status(step_functions, execution_arn) == "RUNNING"


def _status(step_functions: "SFNClient", execution_arn: str) -> str | None:
    """The status of an execution; None of one that is forgotten, which it is after 90 days."""
    try:
        return step_functions.describe_execution(executionArn=execution_arn)["status"]
    except step_functions.exceptions.ExecutionDoesNotExist:
        return None


def _listed(notes: list[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)


def _shown(notes: list[str]) -> list[str]:
    more = [f"and {len(notes) - _SHOWN_NOTES} more"] if len(notes) > _SHOWN_NOTES else []
    return [note[:_LONGEST_NOTE] for note in notes[:_SHOWN_NOTES]] + more
