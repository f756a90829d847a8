"""The command `snapferry`: its command line, its errors, its exit codes."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from botocore.exceptions import BotoCoreError, ClientError

from snapferry.errors import AccessDenied, InvalidInput, NotFound, SnapferryError, Unavailable
from snapferry.request import MIGRATION_ID, Gate
from snapferry_cli import abort, approve, aws_errors, plan, report, roll_back, start, watch
from snapferry_cli.output import Output
from snapferry_cli.stack import DEFAULT_NAME, Stack

type _Run = Callable[[argparse.Namespace, Stack, Output], int]

_FAILED = 1
_EXIT_CODES: dict[type[SnapferryError], int] = {
    InvalidInput: 2,
    NotFound: 3,
    AccessDenied: 4,
    Unavailable: 4,
}
_INTERRUPTED = 130
_EPILOG = """\
exit codes:
  0    done; the migration has succeeded
  1    the migration or its roll-back has failed, or the answer was no
  2    the command line or the input can't be used; nothing was changed
  3    there is no such stack, migration or open gate
  4    AWS can't be reached, or denies access
  130  interrupted; migrations and roll-backs go on
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: those of the command line by default.

    Returns:
        The exit code.
    """
    options = parser().parse_args(arguments)
    output = Output(as_json=options.json)
    try:
        stack = Stack(options.stack, options.region, options.profile)
        code: int = options.run(options, stack, output)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain of it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except SnapferryError as error:
        return _fail(error, output)
    except (BotoCoreError, ClientError) as error:
        return _fail(aws_errors.explain(error), output)
    return code


def _fail(error: SnapferryError, output: Output) -> int:
    output.fail(error)
    return _EXIT_CODES.get(type(error), _FAILED)


def parser() -> argparse.ArgumentParser:
    """What understands the command line."""
    whole = argparse.ArgumentParser(
        prog="snapferry",
        description="Move indices out of Amazon OpenSearch Service, by snapshots through S3",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--stack",
        metavar="NAME",
        default=os.environ.get("SNAPFERRY_STACK", DEFAULT_NAME),
        help="the deployed stack (default: SNAPFERRY_STACK, or %(default)s)",
    )
    common.add_argument("--region", help="of the stack (default: that of the AWS configuration)")
    common.add_argument("--profile", help="of the AWS configuration")
    common.add_argument("--json", action="store_true", help="JSON for programs")
    of_migration = argparse.ArgumentParser(add_help=False, parents=[common])
    of_migration.add_argument(
        "migration_id", metavar="ID", type=_migration_id, help="the migration's id"
    )

    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, run: _Run, parent: argparse.ArgumentParser, does: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=does, description=f"{does[0].upper()}{does[1:]}.", parents=[parent]
        )
        command.set_defaults(run=run)
        return command

    command = add(
        "plan", plan.run, common, "show what would be moved and changed; this changes nothing"
    )
    planned = command.add_mutually_exclusive_group(required=True)
    planned.add_argument(
        "input", metavar="INPUT.json", nargs="?", help="the input; - for standard input"
    )
    planned.add_argument(
        "--of", metavar="ID", type=_migration_id, help="the plan of this migration instead"
    )

    command = add("start", start.run, common, "check the input, and start a migration")
    command.add_argument("input", metavar="INPUT.json", help="its input; - for standard input")
    command.add_argument(
        "--name",
        metavar="ID",
        type=_migration_id,
        help="the migration's id; made from the time when left out",
    )
    command.add_argument("--watch", action="store_true", help="watch it afterwards")

    add("watch", watch.run, of_migration, "show how far a migration is, until it ends")

    command = add(
        "approve", approve.run, of_migration, "answer the gates at which a migration waits"
    )
    command.add_argument(
        "gate",
        metavar="GATE",
        nargs="?",
        choices=get_args(Gate),
        help="this gate only: %(choices)s",
    )
    command.add_argument("--domain", metavar="NAME", help="of this domain only")
    command.add_argument("--yes", action="store_true", help="don't ask")
    command.add_argument(
        "--reject",
        metavar="REASON",
        type=_reason,
        help="let the migration fail instead: what it has changed is given back, but for the "
        "source's write blocks at clients_moved",
    )

    command = add("report", report.run, of_migration, "show what a migration came to")
    command.add_argument("--html", metavar="FILE", type=Path, help="write it as a page, too")

    add(
        "abort",
        abort.run,
        of_migration,
        "end a migration; what it has changed is given back, but for the source's write blocks "
        "once its indices were handed over",
    )

    command = add(
        "roll-back", roll_back.run, of_migration, "give back what a migration has changed"
    )
    command.add_argument(
        "--yes",
        action="store_true",
        help="don't ask before a migration that runs is ended, or what is gone is given up",
    )
    command.add_argument(
        "--gone",
        action="append",
        default=[],
        metavar="SIDE",
        help="a cluster that is gone for good, such as source/logs: what was changed there is "
        "given up; may be repeated",
    )
    return whole


def _migration_id(text: str) -> str:
    if not MIGRATION_ID.fullmatch(text):
        raise argparse.ArgumentTypeError("an id has at most 80 letters, digits, - and _")
    return text


def _reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("say why the gate is rejected")
    return text
