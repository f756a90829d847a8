"""The report as a page for people: one file, which needs no network and works without scripts.

Every number in it is one of the report's JSON: a cell's `data-value`, by which tables are sorted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from snapferry import report_tables
from snapferry.report_tables import Cell, Number, Table

_STYLE = Path(__file__).with_suffix(".css").read_text()
_SCRIPT = Path(__file__).with_suffix(".js").read_text()


def render(report: Mapping[str, Any]) -> str:
    """Makes the page of a report."""
    title = f"Migration {report['migration_id']}"
    body = "\n".join(
        (
            _summary(title, report),
            _section("What is left to do", _list(report["to_do"])),
            _section("What else is to be known", _list(report["notes"])) if report["notes"] else "",
            *(part for domain in report["domains"] for part in _domain(domain)),
            _table(report_tables.changes(report)),
        )
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{_STYLE}</style>
</head>
<body>
{body}
<script>
{_SCRIPT}</script>
</body>
</html>
"""


def _summary(title: str, report: Mapping[str, Any]) -> str:
    """The outcome first."""
    shown = "".join(
        f"<div><dd{_value(number)}>{escape(number.text)}</dd><dt>{escape(name)}</dt></div>"
        for name, number in report_tables.figures(report).items()
    )
    return (
        f"<header>{_headline('h1', title, report)}"
        f"<p>{report_tables.period(report)}</p>"
        f'<dl class="figures">{shown}</dl></header>'
    )


def _domain(domain: Mapping[str, Any]) -> Iterator[str]:
    yield _headline("h2", report_tables.title(domain), domain)
    yield _section("Timeline", _timeline(domain["timeline"]))
    yield from map(_table, report_tables.of_domain(domain))


def _timeline(phases: Sequence[Mapping[str, Any]]) -> str:
    if not phases:
        return "<p>Nothing was begun.</p>"
    begin = min(phase["began_at"] for phase in phases)
    whole = max(phase["ended_at"] for phase in phases) - begin or 1
    rows = []
    for phase in phases:
        left = 100 * (phase["began_at"] - begin) / whole
        width = 100 * (phase["ended_at"] - phase["began_at"]) / whole
        seconds = report_tables.seconds(phase["ended_at"] - phase["began_at"])
        kind = phase["phase"].partition(":")[0].split()[0]
        rows.append(
            f"<li><span>{escape(phase['phase'])}</span>"
            f'<span class="track"><i class="{kind}" style="left:{left:.2f}%;width:{width:.2f}%">'
            f"</i></span><span>{seconds.text}</span></li>"
        )
    return f'<ol class="timeline">{"".join(rows)}</ol>'


def _section(title: str, content: str) -> str:
    return f"<section><h3>{title}</h3>{content}</section>"


def _headline(tag: str, title: str, outcome: Mapping[str, Any]) -> str:
    """A title with the status, and below it why it isn't a better one."""
    status = outcome["status"]
    headline = f'<{tag}>{escape(title)} <span class="{status.lower()}">{status}</span></{tag}>'
    if "cause" not in outcome:
        return headline
    return f"{headline}<p>{escape(outcome['error'])}: {escape(outcome['cause'])}</p>"


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else "<p>Nothing.</p>"


def _table(table: Table) -> str:
    if not table.rows:
        return _section(table.title, "<p>None.</p>")
    head = "".join(
        f'<th scope="col"{_kind(cell)}><button type="button">{escape(heading)}</button></th>'
        for heading, cell in zip(table.headings, table.rows[0], strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    search = (
        '<label>Filter <input type="search"></label> <output></output>' if table.is_long else ""
    )
    return _section(
        table.title,
        f'{search}<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>",
    )


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    return f"<td{_kind(cell)}{_value(cell)}>{escape(cell.text)}</td>"


def _kind(cell: Cell) -> str:
    return ' class="number"' if isinstance(cell, Number) else ""


def _value(number: Number) -> str:
    return "" if number.value is None else f' data-value="{number.value}"'
