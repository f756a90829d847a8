"""What a round moves: the indices that it has listed, and those of them that its snapshot takes."""

from collections.abc import Iterable, Sequence

from snapferry.indices import Index
from snapferry.records import Records


def keep(records: Records, domain: str, round_number: int, selected: Sequence[Index]) -> None:
    """Stores what a round has listed."""
    records.write(_name(domain, round_number), [index.record() for index in selected])


def selected(records: Records, domain: str, round_number: int) -> list[Index]:
    """What a round has listed."""
    return [Index(**index) for index in records.read(_name(domain, round_number))]


def keep_caught_up(records: Records, domain: str, round_number: int, names: Iterable[str]) -> None:
    """Stores which of the indices are at the destination already, so that no snapshot has to."""
    records.write(_caught_up(domain, round_number), sorted(names))


def for_snapshot(records: Records, domain: str, round_number: int) -> list[Index]:
    """Those that the round's snapshot takes; the others are caught up."""
    caught_up = set(records.read(_caught_up(domain, round_number), default=[]))
    listed = selected(records, domain, round_number)
    return [index for index in listed if index.name not in caught_up]


def _name(domain: str, round_number: int) -> str:
    return f"{domain}/indices-{round_number}"


def _caught_up(domain: str, round_number: int) -> str:
    return f"{domain}/caught-up-{round_number}"
