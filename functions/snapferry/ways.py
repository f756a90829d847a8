"""By which way each index of a domain comes to its end: caught up, or by a last snapshot.

What is caught up is dealt into slices, each for a function of its own. Each slice is an object of
the records, so that these functions don't write over what another one has found out.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Self

from snapferry.indices import Index
from snapferry.records import Records

# Below the 40 iterations of a Map that run at the same time.
_MOST_SLICES = 40


@dataclass
class Slice:
    """What one function catches up.

    Attributes:
        caught_up: the names of its indices.
        by_snapshot: why others need a last snapshot after all, by name.
    """

    caught_up: list[str] = field(default_factory=list)
    by_snapshot: dict[str, str] = field(default_factory=dict)

    def leave_out(self, unfit: Mapping[str, str]) -> None:
        """Has indices go by a snapshot after all."""
        self.by_snapshot |= unfit
        self.caught_up = [name for name in self.caught_up if name not in unfit]


@dataclass
class Ways:
    """By which way each index comes to its end.

    Attributes:
        round_number: of the last snapshot that catching up began with.
        slices: of what is caught up, at least one.
    """

    round_number: int = 0
    slices: list[Slice] = field(default_factory=lambda: [Slice()])

    @classmethod
    def deal(cls, round_number: int, indices: Sequence[Index], shards_per_slice: int) -> Self:
        """Deals indices into slices of about the same number of shards, in their order.

        Args:
            round_number: of the snapshot that catching up begins with.
            indices: that are caught up.
            shards_per_slice: about so many at most, unless there were too many slices.
        """
        total = sum(index.shards for index in indices)
        count = min(_MOST_SLICES, -(-total // shards_per_slice))
        slices = [Slice() for _ in range(count)]
        dealt = 0
        for index in indices:
            slices[dealt * count // total].caught_up.append(index.name)
            dealt += index.shards
        # An index isn't divided.
        return cls(round_number, [each for each in slices if each.caught_up] or [Slice()])

    @classmethod
    def of(cls, records: Records, domain: str) -> Self:
        """Those of a domain; none where catching up hasn't begun."""
        first = records.read(_name(domain, 0))
        if first is None:
            return cls()
        others = [records.read(_name(domain, number)) for number in range(1, first["slices"])]
        return cls(
            first["round_number"],
            [Slice(each["caught_up"], each["by_snapshot"]) for each in (first, *others)],
        )

    def keep(self, records: Records, domain: str) -> None:
        """Stores them, while no slice is caught up."""
        # The first one says how many there are.
        for number in reversed(range(len(self.slices))):
            self.keep_slice(records, domain, number)

    def keep_slice(self, records: Records, domain: str, number: int) -> None:
        """Stores one slice."""
        whole = {"round_number": self.round_number, "slices": len(self.slices)}
        records.write(_name(domain, number), whole | asdict(self.slices[number]))

    @property
    def caught_up(self) -> list[str]:
        """The names of the indices that are caught up."""
        return [name for each in self.slices for name in each.caught_up]

    @property
    def by_snapshot(self) -> dict[str, str]:
        """Why the others need a last snapshot, by name."""
        return {name: why for each in self.slices for name, why in each.by_snapshot.items()}

    def leave_out(self, unfit: Mapping[str, str]) -> None:
        """Has indices go by a snapshot after all, whatever slices they are in."""
        self.forget_all_but(set(self.caught_up) - unfit.keys())
        self.slices[0].leave_out(unfit)

    def forget_all_but(self, names: Collection[str]) -> bool:
        """Forgets indices that are gone; returns whether there are any."""
        before = len(self.caught_up)
        for each in self.slices:
            each.caught_up = [name for name in each.caught_up if name in names]
        return len(self.caught_up) < before


def _name(domain: str, number: int) -> str:
    return f"{domain}/catch-up-{number}"
