"""`snapferry abort`: ends a migration, whose changes are given back then."""

import argparse

from snapferry.errors import Conflict
from snapferry_cli import roll_back
from snapferry_cli.output import Output
from snapferry_cli.stack import Stack


def run(options: argparse.Namespace, stack: Stack, output: Output) -> int:
    """Ends a migration, and follows its roll-back.

    Raises:
        NotFound: there is no such migration.
        Conflict: it has succeeded already.
        Unavailable: the roll-back doesn't begin.
    """
    migration = stack.migration(options.migration_id)
    status = migration.status()
    if status == "SUCCEEDED":
        raise Conflict(f"the migration {migration.migration_id} has succeeded already")
    if status == "RUNNING":
        by = stack.caller_arn()
        stack.step_functions.stop_execution(
            executionArn=migration.execution_arn, error="Aborted", cause=f"aborted by {by}"
        )
        output.say(f"Ended {migration.migration_id} as {by}.")
    else:
        output.say(f"{migration.migration_id} has ended already: {status}.")
    if migration.mark() is None:
        return roll_back.report(migration, output)
    output.say("The roll-back begins by itself.")
    return roll_back.follow(stack, migration, output)
