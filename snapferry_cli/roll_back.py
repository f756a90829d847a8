"""`snapferry roll-back`: gives back what a migration has changed."""

import argparse
import json
import time
from typing import Any

from snapferry.errors import Conflict, NotFound, Unavailable
from snapferry_cli.migration import Migration, describe
from snapferry_cli.output import Output
from snapferry_cli.stack import Stack

_LOOK_EVERY_SECONDS = 2
# An event starts the roll-back of a migration that was aborted, as a rule within seconds.
_LONGEST_START_SECONDS = 120


def run(options: argparse.Namespace, stack: Stack, output: Output) -> int:
    """Rolls a migration back, and says what came of it.

    Raises:
        NotFound: there is no such migration, or it has changed nothing on a side that is gone.
        Conflict: it runs, and has changed nothing yet.
        Unavailable: the roll-back doesn't begin.
    """
    migration = stack.migration(options.migration_id)
    mark = migration.mark()
    if mark is None:
        if migration.status() == "RUNNING":
            raise Conflict(
                f"the migration {migration.migration_id} has changed nothing yet. What to do: "
                f"`{stack.command('abort', migration.migration_id)}` ends it."
            )
        return report(migration, output)
    gone: list[str] = options.gone
    _refuse_unknown(gone, migration)
    started_arn = None
    # What is gone isn't known to one that runs; the new one takes over from it.
    if mark.state != "ended" and (gone or not _runs(stack, mark.roller_arn)):
        runs = _runs(stack, mark.execution_arn)
        question = f"The migration {migration.migration_id} runs. End it, and roll it back?"
        if runs and not output.confirm(question, yes=options.yes):
            return 1
        question = f"Give up for good what was changed in {', '.join(gone)}?"
        if gone and not output.confirm(question, yes=options.yes):
            return 1
        wanted = {"name": migration.migration_id, "executionArn": mark.execution_arn, "gone": gone}
        started_arn = stack.step_functions.start_execution(
            stateMachineArn=stack.output("RollBackStateMachineArn"), input=json.dumps(wanted)
        )["executionArn"]
    return follow(stack, migration, output, started_arn=started_arn)


def _refuse_unknown(gone: list[str], migration: Migration) -> None:
    sides = migration.sides() if gone else []
    if unknown := [side for side in gone if side not in sides]:
        raise NotFound(
            f"--gone {', '.join(unknown)}: the migration {migration.migration_id} has changed "
            f"nothing there. What to do: give one of {', '.join(sides)}."
        )


def follow(
    stack: Stack, migration: Migration, output: Output, *, started_arn: str | None = None
) -> int:
    """Waits until a migration is rolled back, and says what came of it.

    Whoever interrupts this ends the waiting alone.

    Args:
        stack: whose migration.
        migration: one that has changed something.
        output: where to say it.
        started_arn: the execution that was started to roll it back; None if an event starts it.

    Returns:
        The exit code.

    Raises:
        Unavailable: the roll-back doesn't begin.
    """
    command = stack.command("roll-back", migration.migration_id)
    try:
        failure = _wait(stack, migration, output, command, started_arn)
    except KeyboardInterrupt:
        output.warn(f"The roll-back goes on. `{command}` shows how far it is.")
        raise
    return report(migration, output, failure)


def report(migration: Migration, output: Output, failure: str | None = None) -> int:
    """Says what was given back and what was left; returns the exit code.

    Args:
        migration: one that is rolled back, or never changed anything.
        output: where to say it.
        failure: why the roll-back failed.
    """
    changes = migration.changes()
    told = (
        ("Given back", changes.given_back),
        (
            "Left, because someone else has changed it meanwhile, or people gave it up",
            changes.foreign,
        ),
        ("Left, because clients may have moved", changes.kept),
        ("Left to the clients at the destination", changes.handed_over),
        ("Not given back", changes.open),
    )
    for title, lines in told:
        if lines:
            output.say("\n  ".join([f"{title}:", *lines]))
    if failure:
        output.say(f"The roll-back has failed: {failure}")
    elif not any(lines for _, lines in told):
        output.say(f"The migration {migration.migration_id} has changed nothing.")
    mark = migration.mark()
    output.give(
        {
            "migration_id": migration.migration_id,
            "state": mark.state if mark else None,
            "given_back": changes.given_back,
            "foreign": changes.foreign,
            "kept": changes.kept,
            "handed_over": changes.handed_over,
            "open": changes.open,
            "failure": failure,
        }
    )
    return 1 if failure else 0


def _wait(
    stack: Stack, migration: Migration, output: Output, command: str, started_arn: str | None
) -> str | None:
    """Waits until the migration is rolled back; returns why it isn't, if that fails."""
    give_up_at = time.monotonic() + _LONGEST_START_SECONDS
    told = ""
    while True:
        mark = migration.mark()
        # Another one may have been first; then the one that was started does nothing.
        rollers = [arn for arn in (started_arn, mark.roller_arn if mark else None) if arn]
        running = any(_runs(stack, arn, just_started=arn == started_arn) for arn in rollers)
        # A roller sets the mark before it ends, so the mark is read after that.
        mark = migration.mark()
        if mark and mark.state == "ended":
            return None
        if not running and (started_arn or time.monotonic() >= give_up_at):
            if rollers:
                return _cause(stack, rollers[-1])
            raise Unavailable(
                f"the roll-back hasn't begun within {_LONGEST_START_SECONDS} s. What to do: "
                f"`{command}` begins it."
            )
        changes = migration.changes()
        left = (
            f"Changes to be given back: {len(changes.open)}, "
            f"write blocks among them: {changes.write_blocks}"
        )
        if changes.kept_write_blocks:
            left += f". Kept, so that the source stays blocked: {changes.kept_write_blocks}"
        if left != told:
            told = left
            output.say(left)
        time.sleep(_LOOK_EVERY_SECONDS)


def _runs(stack: Stack, execution_arn: str | None, *, just_started: bool = False) -> bool:
    if execution_arn is None:
        return False
    return bool(_execution(stack, execution_arn, just_started=just_started)["status"] == "RUNNING")


def _cause(stack: Stack, execution_arn: str) -> str:
    execution = _execution(stack, execution_arn)
    return f"{execution.get('error', execution['status'])}: {execution.get('cause', 'no cause')}"


def _execution(stack: Stack, execution_arn: str, *, just_started: bool = False) -> Any:
    try:
        return describe(stack.step_functions, execution_arn, just_started=just_started)
    except stack.step_functions.exceptions.ExecutionDoesNotExist:
        return {"status": "FORGOTTEN"}
