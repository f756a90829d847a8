"""By which way each index of a domain comes to its end: caught up, or by a last snapshot."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from snapferry.records import Records


@dataclass
class Ways:
    """By which way each index comes to its end.

    Attributes:
        round_number: of the last snapshot that catching up began with.
        caught_up: the names of the indices that are caught up.
        by_snapshot: why the others need a last snapshot, by name.
    """

    round_number: int = 0
    caught_up: list[str] = field(default_factory=list)
    by_snapshot: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Records, domain: str) -> Self:
        """Those of a domain; none where catching up hasn't begun."""
        return cls(**records.read(_name(domain), default={}))

    def keep(self, records: Records, domain: str) -> None:
        """Stores them."""
        records.write(_name(domain), asdict(self))

    def leave_out(self, unfit: Mapping[str, str]) -> None:
        """Has indices go by a snapshot after all."""
        self.by_snapshot |= unfit
        self.caught_up = [name for name in self.caught_up if name not in unfit]

    def forget_all_but(self, names: Iterable[str]) -> None:
        """Forgets indices that are gone."""
        present = set(names)
        self.caught_up = [name for name in self.caught_up if name in present]


def _name(domain: str) -> str:
    return f"{domain}/catch-up"
