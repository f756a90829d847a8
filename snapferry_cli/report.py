"""`snapferry report`: what a migration came to, as its page shows it."""

import argparse
from pathlib import Path
from typing import Any

from rich.table import Table as Columns

from snapferry import report_page, report_tables
from snapferry.errors import InvalidInput, NotFound
from snapferry.report_tables import Number, Table
from snapferry_cli.output import Output
from snapferry_cli.stack import Stack


def run(options: argparse.Namespace, stack: Stack, output: Output) -> int:
    """Shows the report of a migration; returns the exit code that tells how it ended.

    Raises:
        NotFound: it has none, or none yet.
        InvalidInput: the page can't be written where it is wanted.
    """
    try:
        report = stack.record(f"migrations/{options.migration_id}/report.json")
    except NotFound:
        # Who isn't told of a migration is told why there is no record.
        if why := _why_there_is_none(stack, options.migration_id):
            raise NotFound(why) from None
        raise
    if options.html:
        _write(options.html, report_page.render(report))
    output.give(report)
    _show(report, output)
    # A series' snapshot that was skipped is no failure.
    return 1 if report["status"] == "FAILED" else 0


def _write(file: Path, page: str) -> None:
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"--html {file} can't be written: {error.strerror}. What to do: name a file in a "
            "folder that is there and may be written to."
        ) from None


def _why_there_is_none(stack: Stack, migration_id: str) -> str:
    """Why a migration has no report, and where to look instead; empty where it should have one."""
    look = stack.migration(migration_id).look()
    if look.status == "SUCCEEDED" and "report" not in look.output:
        where = f"see its plan: `{stack.command('plan', '--of', migration_id)}`"
        return f"{migration_id} has made a plan alone. What to do: {where}."
    if look.status == "RUNNING":
        where = f"see how far it is: `{stack.command('watch', migration_id)}`"
        return f"the migration {migration_id} still runs. What to do: {where}."
    if look.status in ("ABORTED", "TIMED_OUT"):
        where = f"see what it has changed: `{stack.command('roll-back', migration_id)}`"
        return f"the migration {migration_id} was ended from outside. What to do: {where}."
    return ""


def _show(report: dict[str, Any], output: Output) -> None:
    _say_outcome(report["migration_id"], report, output)
    output.say(report_tables.period(report))
    for name, number in report_tables.figures(report).items():
        output.say(f"  {number.text} {name}")
    if report["to_do"]:
        output.say("\n  ".join(["What is left to do:", *report["to_do"]]))
    if report["notes"]:
        output.say("\n  ".join(["What else is to be known:", *report["notes"]]))
    for domain in report["domains"]:
        _say_outcome(f"\n{report_tables.title(domain)}", domain, output)
        phases = [
            (phase["phase"], report_tables.seconds(phase["ended_at"] - phase["began_at"]))
            for phase in domain["timeline"]
        ]
        _show_table(Table("Timeline", ("Phase", "Time"), phases), output)
        for table in report_tables.of_domain(domain):
            _show_table(table, output)
    _show_table(report_tables.changes(report), output)


def _say_outcome(name: str, outcome: dict[str, Any], output: Output) -> None:
    """Says the status, and why it isn't a better one."""
    output.say(f"{name}: {outcome['status']}")
    if "cause" in outcome:
        output.say(f"{outcome['error']}: {outcome['cause']}")


def _show_table(table: Table, output: Output) -> None:
    if not table.rows:
        return
    columns = Columns(title=table.title, title_justify="left", box=None, pad_edge=False)
    for heading, cell in zip(table.headings, table.rows[0], strict=True):
        columns.add_column(
            heading,
            justify="right" if isinstance(cell, Number) else "left",
            # Names are never cut.
            overflow="fold",
        )
    for row in table.rows:
        columns.add_row(*(cell.text if isinstance(cell, Number) else cell for cell in row))
    output.console.print()
    output.console.print(columns)
