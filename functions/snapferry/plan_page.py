"""The plan as a page of its own, which needs nothing from the network."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0 }
td, th { border-bottom: 1px solid #8884 }
.number { text-align: right; font-variant-numeric: tabular-nums }
.reject { color: #c33; font-weight: 600 }
.skip { color: #888 }
.objection { border-left: 4px solid #c33; padding-left: 1rem }
"""


def summary(plan: Mapping[str, Any]) -> str:
    """Says a plan, as `snapferry.plan.write` stores it, in a few words."""
    return (
        f"{plan['restore']:,} indices are to be moved, {_size(plan['primary_store_bytes'])}; "
        f"{plan['skip']:,} are skipped, {plan['reject']:,} can't be moved. The first copy takes "
        f"about {plan['copy_seconds']:,} s, writes stop for about {plan['write_stop_seconds']:,} s."
    )


def render(plan: Mapping[str, Any]) -> str:
    """Makes the page of a plan, as `snapferry.plan.write` stores it."""
    destination = plan["destination"]
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
<p>Destination {escape(destination["endpoint"])}: {destination["data_nodes"]:,} data nodes,
{destination["shards"]:,} of {destination["most_shards"]:,} shards,
{_size(destination["free_bytes"])} free below the low watermark.</p>
{"".join(_domain(domain) for domain in plan["domains"])}
{"".join(_failed(domain) for domain in plan["failed"])}
<h2>What will be changed, and given back</h2>
<ul>{"".join(f"<li>{escape(change)}</li>" for change in plan["changes"])}</ul>
</body>
</html>
"""


def _domain(domain: Mapping[str, Any]) -> str:
    return f"""<h2>{escape(domain["domain"])}</h2>
<p>{escape(domain["host"])}, {escape(domain["version"])} to
{escape(domain["destination_version"])}</p>
<table>
<thead><tr><th>Index<th>Verdict<th class="number">Size<th class="number">Shards<th>At the end
<th>Why, and what to do</tr></thead>
<tbody>{_rows(domain["indices"])}</tbody>
</table>
"""


def _rows(indices: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for index in indices:
        moved = index["verdict"] == "restore"
        end = ("last snapshot" if index["last_snapshot"] else "caught up") if moved else ""
        why = index["last_snapshot"] or ". ".join(filter(None, (index["reason"], index["remedy"])))
        rows.append(
            f"<tr><td>{escape(index['index'])}"
            f'<td class="{index["verdict"]}">{index["verdict"]}'
            f'<td class="number">{_size(index["primary_store_bytes"]) if moved else ""}'
            f'<td class="number">{index["shards"] if moved else ""}'
            f"<td>{end}<td>{escape(why)}</tr>"
        )
    return "".join(rows)


def _failed(domain: Mapping[str, Any]) -> str:
    return (
        f"<h2>{escape(domain['domain'])}</h2>"
        f'<p class="objection">{escape(domain["error"])}: {escape(domain["cause"])}</p>'
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes < 1e9 else f"{size_bytes / 1e9:,.1f} GB"
