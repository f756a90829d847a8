"""What each round of a domain has copied, for the report.

States pass numbers only: the rounds of a hundred domains are more than an execution's output holds.
"""

from typing import Any

from snapferry.records import Records


def note(records: Records, domain: str, round_number: int, **measured: Any) -> None:
    """Adds to what is known of a round; one state of a domain at a time does so.

    Args:
        records: of the migration.
        domain: its name.
        round_number: of the round.
        measured: plain JSON, by what it is about.
    """
    noted = records.read(_name(domain), default={})
    noted[str(round_number)] = noted.get(str(round_number), {}) | measured
    records.write(_name(domain), noted)


def copied(records: Records, domain: str) -> list[dict[str, Any]]:
    """The rounds that have copied something, in their order, each with its number as `round`."""
    noted = records.read(_name(domain), default={})
    return [
        {"round": int(number)} | measured
        for number, measured in noted.items()
        if measured.keys() & {"snapshot", "restore"}
    ]


def last(records: Records, domain: str) -> int:
    """The number of the last round that was begun; 0 where none was."""
    return max(map(int, records.read(_name(domain), default={})), default=0)


def _name(domain: str) -> str:
    return f"{domain}/rounds"
