"""`snapferry watch`: shows how far a migration is until it ends."""

import argparse
import time
from collections.abc import Iterator

from snapferry.gates import ALL_DOMAINS
from snapferry_cli.display import ProgressDisplay, duration
from snapferry_cli.migration import Gate, Look, Migration, timestamp
from snapferry_cli.output import Output
from snapferry_cli.stack import Stack

_LOOK_EVERY_SECONDS = 2


def run(options: argparse.Namespace, stack: Stack, output: Output) -> int:
    """Watches a migration.

    Raises:
        NotFound: there is no such migration.
    """
    return watch(stack, stack.migration(options.migration_id), output)


def watch(stack: Stack, migration: Migration, output: Output) -> int:
    """Shows a migration until it ends; returns the exit code that tells how.

    Whoever interrupts this ends the watching alone.
    """
    looks = _looks(migration)
    try:
        look = _give(looks, output) if output.as_json else _show(looks, stack, output)
    except KeyboardInterrupt:
        output.warn(
            f"The migration runs on. `{stack.command('watch', migration.migration_id)}` shows it "
            f"again; `{stack.command('abort', migration.migration_id)}` ends it."
        )
        raise
    return 0 if look.status == "SUCCEEDED" else 1


def _looks(migration: Migration) -> Iterator[Look]:
    """Looks at a migration until it has ended."""
    while True:
        look = migration.look()
        yield look
        if look.ended_at is not None:
            return
        time.sleep(_LOOK_EVERY_SECONDS)


def _give(looks: Iterator[Look], output: Output) -> Look:
    """Gives programs a line for each look that shows something new; returns the last look."""
    last = None
    for look in looks:
        document = look.as_json()
        if document != last:
            output.give(document)
            last = document
    return look


def _show(looks: Iterator[Look], stack: Stack, output: Output) -> Look:
    """Shows the looks to people; returns the last one."""
    announced: set[str] = set()
    with ProgressDisplay(output.console) as display:
        for look in looks:
            for gate in look.open_gates:
                if gate.token not in announced:
                    announced.add(gate.token)
                    output.say(describe(gate, stack, look.migration_id))
            display.show(look.domains, _status(look))
    seconds = (look.ended_at or time.time()) - look.started_at
    output.say(f"{look.migration_id}: {look.status} after {duration(seconds)}")
    if look.status == "SUCCEEDED":
        _say_result(look, stack, output)
    elif look.error:
        output.say(f"{look.error}: {look.cause}")
    if look.state in ("running", "rolling_back"):
        # An event starts the roll-back of what was aborted or timed out.
        command = stack.command("roll-back", look.migration_id)
        output.say(f"What it has changed is given back: {command}")
    return look


def _say_result(look: Look, stack: Stack, output: Output) -> None:
    """Says where the result lies: the report, or of an execution that only plans the plan."""
    records = f"s3://{stack.output('RecordsBucketName')}"
    # A skipped snapshot, and a plan of what can't be moved, are no failures of their executions.
    if "error" in look.output:
        output.say(f"{look.output['error']}: {look.output['cause']}")
    if "report" in look.output:
        output.say(f"Report: {records}/{look.output['report']}")
    else:
        command = stack.command("plan", "--of", look.migration_id)
        output.say(f"Plan: {records}/{look.output['page']}, {command}")


def describe(gate: Gate, stack: Stack, migration_id: str) -> str:
    """Says what a gate asks for, until when, and how it is answered."""
    whose = [] if gate.domain == ALL_DOMAINS else ["--domain", gate.domain]
    command = stack.command("approve", migration_id, gate.name, *whose)
    left = duration(max(0, gate.deadline - time.time()))
    return (
        f"Gate {gate.name} of {gate.domain}, until {timestamp(gate.deadline)} ({left} left)\n"
        f"  {gate.prompt}\n"
        f"  {command}"
    )


def _status(look: Look) -> str:
    parts = [look.migration_id]
    if look.state == "rolling_back":
        parts.append("giving back what was changed")
    parts += [f"waits at {gate.name} of {gate.domain}" for gate in look.open_gates]
    parts.append(duration(time.time() - look.started_at))
    return ", ".join(parts)
