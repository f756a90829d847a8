"""The plan as a page of its own, which needs nothing from the network."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from snapferry import report_tables

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0 }
td, th { border-bottom: 1px solid #8884 }
.number { text-align: right; font-variant-numeric: tabular-nums }
.number, .end { white-space: nowrap }
.reject { color: #c33; font-weight: 600 }
.skip { color: #888 }
.objection { border-left: 4px solid #c33; padding-left: 1rem }
"""


def summary(plan: Mapping[str, Any]) -> str:
    """Says a plan, as `snapferry.plan.write` stores it, in a few words."""
    copy = report_tables.seconds(plan["copy_seconds"]).text
    if stops_writes(plan):
        stop = report_tables.seconds(plan["write_stop_seconds"]).text
        times = f"The first copy takes about {copy}, writes stop for about {stop}."
    else:
        times = f"The copy takes about {copy}, writes don't stop."
    return (
        f"Indices to be moved: {plan['restore']:,}, {size(plan['primary_store_bytes'])}; skipped: "
        f"{plan['skip']:,}; rejected: {plan['reject']:,}. {times}"
    )


def stops_writes(plan: Mapping[str, Any]) -> bool:
    """Whether what is planned ends with a write stop; a rehearsal doesn't, for one."""
    return "write_stop_seconds" in plan


def end(plan: Mapping[str, Any], index: Mapping[str, Any]) -> str:
    """By which way an index of a plan comes to its end; empty where it has none of its own."""
    if index["verdict"] != "restore" or not stops_writes(plan):
        return ""
    return "last snapshot" if index["last_snapshot"] else "caught up"


def why(index: Mapping[str, Any]) -> str:
    """What is to be known of an index of a plan: the reason of its way or verdict, the remedy."""
    remedy = f". What to do: {index['remedy']}" if index["remedy"] else ""
    return f"{index['last_snapshot'] or index['reason']}{remedy}"


def size(size_bytes: int) -> str:
    """A number of bytes as people read it."""
    return report_tables.size(size_bytes).text


def render(plan: Mapping[str, Any]) -> str:
    """Makes the page of a plan, as `snapferry.plan.write` stores it."""
    objection = (
        f'<p class="objection">{escape(plan["error"])}: {escape(plan["cause"])}</p>'
        if "error" in plan
        else ""
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Plan of {escape(plan["migration_id"])}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Plan of {escape(plan["migration_id"])}</h1>
{objection}
<p>{summary(plan)}</p>
{"".join(_destination(destination) for destination in plan["destinations"])}
{"".join(_domain(plan, domain) for domain in plan["domains"])}
{"".join(_failed(domain) for domain in plan["failed"])}
<h2>What will be changed, and given back</h2>
{_list(plan["changes"])}
{_notes(plan["notes"])}
</body>
</html>
"""


def _destination(destination: Mapping[str, Any]) -> str:
    return f"""<p>Destination {escape(destination["endpoint"])}: {destination["data_nodes"]:,} data
nodes, {destination["shards"]:,} of {destination["most_shards"]:,} shards,
{size(destination["free_bytes"])} free below the low watermark.</p>
"""


def _domain(plan: Mapping[str, Any], domain: Mapping[str, Any]) -> str:
    return f"""<h2>{escape(domain["domain"])}</h2>
<p>{escape(domain["host"])}, {escape(domain["version"])} to
{escape(domain["destination_version"])}</p>
<table>
<thead><tr><th>Index<th>Verdict<th class="number">Size<th class="number">Shards<th>At the end
<th>Why, and what to do</tr></thead>
<tbody>{_rows(plan, domain["indices"])}</tbody>
</table>
"""


def _rows(plan: Mapping[str, Any], indices: Iterable[Mapping[str, Any]]) -> str:
    return "".join(
        f"<tr><td>{escape(index['index'])}"
        f'<td class="{index["verdict"]}">{index["verdict"]}'
        f'<td class="number">{size(index["primary_store_bytes"]) if _is_moved(index) else ""}'
        f'<td class="number">{index["shards"] if _is_moved(index) else ""}'
        f'<td class="end">{end(plan, index)}<td>{escape(why(index))}</tr>'
        for index in indices
    )


def _is_moved(index: Mapping[str, Any]) -> bool:
    return bool(index["verdict"] == "restore")


def _notes(notes: Iterable[str]) -> str:
    return f"<h2>What else is to be known</h2>\n{_list(notes)}" if notes else ""


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _failed(domain: Mapping[str, Any]) -> str:
    return (
        f"<h2>{escape(domain['domain'])}</h2>"
        f'<p class="objection">{escape(domain["error"])}: {escape(domain["cause"])}</p>'
    )
