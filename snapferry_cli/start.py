"""`snapferry start`: checks the input, and starts the migration."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snapferry import request
from snapferry.errors import Conflict, InvalidInput
from snapferry_cli import watch
from snapferry_cli.output import Output
from snapferry_cli.stack import Stack


def run(options: argparse.Namespace, stack: Stack, output: Output) -> int:
    """Starts a migration.

    Raises:
        InvalidInput: nothing was started.
        Conflict: there has been a migration of that name.
    """
    document = read(options.input)
    migration_id = options.name or f"migration-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    jobs, _ = request.parse(document, migration_id)
    execution_arn = execute(stack, migration_id, document)
    commands = {verb: stack.command(verb, migration_id) for verb in ("watch", "approve", "abort")}
    output.say(
        f"Started the migration {migration_id}.\n"
        f"  see how far it is:  {commands['watch']}\n"
        f"  answer its gates:   {commands['approve']}\n"
        f"  end it:             {commands['abort']}"
    )
    output.give(
        {
            "migration_id": migration_id,
            "execution_arn": execution_arn,
            "domains": [job.domain.name for job in jobs],
            "commands": commands,
        }
    )
    if options.watch:
        return watch.watch(stack, stack.migration(migration_id, just_started=True), output)
    return 0


def execute(stack: Stack, migration_id: str, document: Any) -> str:
    """Starts the state machine `migrate`; returns the execution's ARN.

    Raises:
        Conflict: there has been a migration of that name.
    """
    try:
        started = stack.step_functions.start_execution(
            stateMachineArn=stack.output("MigrateStateMachineArn"),
            name=migration_id,
            input=json.dumps(document),
        )
    except stack.step_functions.exceptions.ExecutionAlreadyExists:
        raise Conflict(
            f"there has been a migration {migration_id!r} before. What to do: give another --name; "
            f"`{stack.command('watch', migration_id)}` shows that one."
        ) from None
    return started["executionArn"]


def read(name: str) -> Any:
    """Reads an input, from a file or from standard input.

    Raises:
        InvalidInput: it can't be read, or is no JSON.
    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise InvalidInput(f"{name} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidInput(f"{name} is no JSON: {error}") from None
