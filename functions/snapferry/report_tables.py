"""What a report shows, in tables: the page and the terminal show the same."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from snapferry.journal import Place

_NONE = "-"
_COMPARED = ("documents", "slices", "slices_of", "rewritten", "deleted", "deleted_or_lost")


@dataclass(frozen=True)
class Number:
    """A number in a table.

    Attributes:
        value: as the report has it; None where it has none.
        text: for people.
    """

    value: float | None
    text: str


type Cell = str | Number


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: what it is about.
        headings: of its columns.
        rows: each with a cell for each column.
        is_long: whether people will want to search it.
    """

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    is_long: bool = False


def title(domain: Mapping[str, Any]) -> str:
    """What a domain of a report is called: its name, and where it went."""
    to = f" to {domain['destination']}" if domain["destination"] else ""
    return f"{domain['domain']}{to}"


def figures(report: Mapping[str, Any]) -> dict[str, Number]:
    """The few numbers that people ask for first, by what they are."""
    moved = [domain for domain in report["domains"] if domain["status"] == "SUCCEEDED"]
    found = {
        # A snapshot alone isn't counted, and has no write stop.
        "documents": _count(sum(domain.get("documents", 0) for domain in moved)),
        "indices": _count(sum(domain["indices"] for domain in moved)),
        "in primaries": size(sum(domain["primary_store_bytes"] for domain in moved)),
        "in all": seconds(report["seconds"]),
    }
    for domain in (domain for domain in moved if "write_stop" in domain):
        name = f" of {domain['domain']}" if len(moved) > 1 else ""
        stop = domain["write_stop"]
        found[f"write stop{name}"] = seconds(stop["seconds"])
        found[f"write stop{name} predicted"] = _predicted(stop)
    return found


def period(report: Mapping[str, Any]) -> str:
    """From when to when the migration went, in words."""
    began, ended = (
        f"{datetime.fromisoformat(report[name]).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        for name in ("started_at", "ended_at")
    )
    return f"From {began} to {ended}"


def of_domain(domain: Mapping[str, Any]) -> Iterator[Table]:
    """The tables of a domain."""
    yield _indices(domain["index_table"])
    yield _write_stop(domain["catch_up"]["write_stop_steps"])
    yield _rounds(domain["rounds"])
    yield _catch_up(domain["catch_up"]["rounds"])
    yield _compared(domain["documents_compared"])
    yield _artifacts(domain["artifacts"])


def _indices(rows: Iterable[Mapping[str, Any]]) -> Table:
    return Table(
        "Indices",
        (
            *("Index", "Source", "Destination", "Primaries", "Shards", "Health", "Way"),
            *("Compared before", "Compared after", "Written since", "Faults"),
        ),
        [
            (
                row["index"],
                _count(row["source_documents"]),
                _count(row["destination_documents"]),
                size(row["primary_store_bytes"]),
                _count(row["shards"]),
                row["health"] or "",
                f"{row['way']}: {row['reason']}" if row["reason"] else row["way"],
                _count(row["compared_before"]),
                _count(row["compared_after"]),
                _count(row["written_since"]),
                "; ".join(row["faults"]),
            )
            for row in rows
        ],
        is_long=True,
    )


def _rounds(rounds: Iterable[Mapping[str, Any]]) -> Table:
    return Table(
        "Rounds",
        ("Round", "Phase", "Time", "Copied", "Reused", "Throughput"),
        [
            (
                _count(each["round"]),
                phase,
                seconds(each[phase]["seconds"]),
                size(each[phase]["bytes_new"]),
                size(each[phase]["bytes_reused"]),
                _rate(each[phase]["bytes_new"], each[phase]["seconds"]),
            )
            for each in rounds
            for phase in ("snapshot", "restore")
            if phase in each
        ],
    )


def _catch_up(rounds: Iterable[Mapping[str, Any]]) -> Table:
    return Table(
        "Catching up",
        ("Phase", "Rounds", "Documents", "Deletes", "Copied", "Time", "Left"),
        [
            (
                each["phase"],
                _count(each["rounds"]),
                _count(each["documents"]),
                _count(each["deletes"]),
                size(each["bytes"]),
                seconds(each["seconds"]),
                _count(each["lag"]),
            )
            for each in rounds
        ],
    )


def _write_stop(steps: Iterable[Mapping[str, Any]]) -> Table:
    return Table(
        "Write stop",
        ("Step", "Before it", "Work"),
        [
            (
                each["step"].replace("_", " "),
                seconds(each["call_seconds"]),
                seconds(each["seconds"]),
            )
            for each in steps
        ],
    )


def _compared(moments: Mapping[str, Mapping[str, Any]]) -> Table:
    """How many documents were compared when; all were counted in between."""

    def total(compared: Mapping[str, Any], name: str) -> Number:
        return _count(sum(index[name] for index in compared["indices"]))

    return Table(
        "Documents compared",
        (
            *("Write stop", "Documents", "Slices", "Of"),
            *("Rewritten since", "Deleted since", "Deleted or lost"),
        ),
        [
            (
                moment,
                *(total(compared, name) for name in _COMPARED),
            )
            for moment, compared in moments.items()
        ],
    )


def _artifacts(artifacts: Iterable[Mapping[str, Any]]) -> Table:
    return Table(
        "Artifacts",
        ("Kind", "Name", "Verdict", "Reason"),
        [(each["kind"], each["name"], each["verdict"], each["reason"] or "") for each in artifacts],
    )


def changes(report: Mapping[str, Any]) -> Table:
    """What was changed in the outside world, and what became of it."""
    return Table(
        "Changes made and given back",
        ("Side", "What", "State", "Note"),
        [
            (
                each["side"],
                Place(each["side"], each["kind"], each["key"]).what,
                each["state"].replace("_", " "),
                each["note"],
            )
            for each in report["changes"]
        ],
    )


def _predicted(stop: Mapping[str, Any]) -> Number:
    """The prediction of a write stop, with its interval where it has one."""
    predicted = seconds(stop["predicted_seconds"])
    if not stop["predicted_interval_seconds"]:
        return predicted
    low, high = map(seconds, stop["predicted_interval_seconds"])
    return Number(predicted.value, f"{predicted.text} ({low.text} to {high.text})")


def _count(value: int | None) -> Number:
    return Number(value, _NONE if value is None else f"{value:,}")


def size(value: float) -> Number:
    """A number of bytes."""
    amount, units = value, ["B", "kB", "MB", "GB", "TB", "PB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return Number(value, f"{amount:,.0f} B" if units[0] == "B" else f"{amount:,.1f} {units[0]}")


def _rate(copied_bytes: int, in_seconds: float) -> Number:
    if not in_seconds:
        return Number(None, _NONE)
    rate = size(round(copied_bytes / in_seconds))
    return Number(rate.value, f"{rate.text}/s")


def seconds(value: float | None) -> Number:
    """A duration."""
    if value is None:
        return Number(None, _NONE)
    if value < 60:
        return Number(value, f"{value:.1f} s")
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return Number(value, f"{days} d {hours} h")
    return Number(value, f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s")
