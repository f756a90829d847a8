"""`snapferry plan`: shows what would become of each index, and what would be changed."""

import argparse
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from snapferry import plan_page, request
from snapferry.errors import InvalidInput
from snapferry_cli import start
from snapferry_cli.output import Output
from snapferry_cli.stack import Stack

_LOOK_EVERY_SECONDS = 1
_STYLES = {"restore": "", "skip": "dim", "reject": "red"}


def run(options: argparse.Namespace, stack: Stack, output: Output) -> int:
    """Has a plan made, which changes nothing, or shows that of a migration.

    Raises:
        InvalidInput: the input can't be used.
        NotFound: there is no such migration, or it has no plan yet.
    """
    if options.of:
        plan = stack.record(f"migrations/{options.of}/plan.json")
    else:
        document = _for_plan(start.read(options.input))
        plan_id = f"plan-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        request.parse(document, plan_id)
        start.execute(stack, plan_id, document)
        migration = stack.migration(plan_id, just_started=True)
        look = migration.look()
        while look.ended_at is None:
            time.sleep(_LOOK_EVERY_SECONDS)
            look = migration.look()
        if look.status != "SUCCEEDED":
            output.say(f"{look.error or look.status}: {look.cause}")
            output.give({"migration_id": plan_id, "error": look.error, "cause": look.cause})
            return 1
        plan = stack.record(look.output["plan"])
    _show(plan, output)
    output.give(plan)
    return 1 if "error" in plan else 0


def _for_plan(document: Any) -> Any:
    """The input with which a migration is only planned.

    Raises:
        InvalidInput: its mode has a plan of another kind.
    """
    if not isinstance(document, dict):
        return document
    mode = document.get("mode", "migrate")
    if mode not in ("migrate", "plan"):
        raise InvalidInput(
            f"mode: {mode!r} can't be planned by itself, only a migration can. What to do: give "
            "mode: migrate, or leave it out; or start it with the gate plan, which shows its plan"
        )
    return document | {"mode": "plan"}


def _show(plan: Mapping[str, Any], output: Output) -> None:
    for domain in plan["domains"]:
        table = Table(
            title=f"{domain['domain']}: {domain['version']} to {domain['destination_version']}",
            title_justify="left",
            box=box.SIMPLE_HEAD,
        )
        for column in ("Index", "Verdict", "Size", "At the end", "Why, and what to do"):
            table.add_column(
                column,
                justify="right" if column == "Size" else "left",
                # Names are never cut.
                overflow="fold",
            )
        for row in _rows(plan, domain):
            table.add_row(*row)
        output.console.print(table)
    for domain in plan["failed"]:
        output.say(f"{domain['domain']}: {domain['error']}: {domain['cause']}")
    output.say("\n  ".join(["Will be changed, and given back:", *plan["changes"]]))
    if plan["notes"]:
        output.say("\n  ".join(["What else is to be known:", *plan["notes"]]))
    output.say(plan_page.summary(plan))
    if "error" in plan:
        output.say(f"{plan['error']}: {plan['cause']}")


def _rows(plan: Mapping[str, Any], domain: Mapping[str, Any]) -> Iterator[tuple[Text, ...]]:
    for index in domain["indices"]:
        is_moved = index["verdict"] == "restore"
        yield (
            Text(index["index"]),
            Text(index["verdict"], style=_STYLES[index["verdict"]]),
            Text(plan_page.size(index["primary_store_bytes"]) if is_moved else ""),
            Text(plan_page.end(plan, index)),
            Text(plan_page.why(index)),
        )
