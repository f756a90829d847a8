"""The figures of `bench.write_stop`, and how the README shows them.

`python -m bench.results` writes them into the README.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

_CLONE = Path(__file__).parents[1]
FILE = _CLONE / "bench" / "results.json"
README = _CLONE / "README.md"
_BETWEEN_MARKERS = re.compile(r"(?<=<!-- bench -->\n).*(?=<!-- /bench -->)", re.DOTALL)

TITLES = {
    "snapferry": "Snapferry",
    "guide_default": "last snapshot and whole restore",
    "guide_tuned": "the same, limits lifted",
    "warm_restore": "last snapshot, restore over closed indices",
    "reindex_from_remote": "reindex from remote",
    "elasticdump": "elasticdump",
    "bare_api": "Snapferry's last steps by bare calls",
}
CHURNS = {
    "random": "appends, updates and deletes",
    "appends": "appends only",
}


@dataclass
class Figures:
    """What was measured with one churn; all lists are in the order of the sizes.

    Attributes:
        sizes_bytes: of the primaries.
        write_stop_seconds: of each contender.
        total_seconds: of each contender.
    """

    sizes_bytes: list[int] = field(default_factory=list)
    write_stop_seconds: dict[str, list[float]] = field(default_factory=dict)
    total_seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, contender: str, write_stop_seconds: float, total_seconds: float) -> None:
        """Enter what a contender took at the next size."""
        self.write_stop_seconds.setdefault(contender, []).append(round(write_stop_seconds, 2))
        self.total_seconds.setdefault(contender, []).append(round(total_seconds, 1))


@dataclass(frozen=True)
class Results:
    """Everything that was measured.

    Attributes:
        versions: of what was measured.
        cap: of each node's network, by its unit.
        appends: with this churn.
        random: with this churn.
    """

    versions: dict[str, str]
    cap: dict[str, int]
    appends: Figures
    random: Figures

    @classmethod
    def load(cls) -> Self:
        """Those that were stored last."""
        stored = json.loads(FILE.read_text())
        return cls(
            stored["versions"],
            stored["cap"],
            Figures(**stored["appends"]),
            Figures(**stored["random"]),
        )

    def save(self, file: Path) -> None:
        """Store them."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def text(self) -> str:
        """The figures for people: a table, and what it depends on, as Markdown."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        megabytes = self.cap["bytes_per_second_per_node_and_direction"] / 1e6
        return "\n".join(
            [
                *self._table(),
                "",
                f"{versions}; each node's network carries {megabytes:g} MB/s, either way.",
                "",
            ]
        )

    def _table(self) -> Iterator[str]:
        sizes = [f"{size / 1e6:.0f} MB" for size in self.random.sizes_bytes]
        largest = f"{self.appends.sizes_bytes[-1] / 1e6:.0f} MB"
        yield (
            "| Writes stop for | "
            + " | ".join(
                [
                    *sizes,
                    "ratio",
                    f"appends only, {largest}",
                    "ratio",
                    f"all in all, {sizes[-1]}",
                ]
            )
            + " |"
        )
        yield "|---" + "|--:" * (len(sizes) + 4) + "|"
        for contender, title in TITLES.items():
            random = self.random.write_stop_seconds[contender]
            appends = self.appends.write_stop_seconds[contender]
            yield (
                f"| {title} | "
                + " | ".join(
                    [
                        *(f"{seconds:.1f} s" for seconds in random),
                        _ratio(random[-1], self.random.write_stop_seconds["snapferry"][-1]),
                        f"{appends[-1]:.1f} s",
                        _ratio(appends[-1], self.appends.write_stop_seconds["snapferry"][-1]),
                        f"{self.random.total_seconds[contender][-1]:.0f} s",
                    ]
                )
                + " |"
            )


def shown(readme: str, results: Results) -> str:
    """A README with the figures between its markers."""
    return _BETWEEN_MARKERS.sub(lambda _: results.text(), readme)


def _ratio(seconds: float, snapferry_seconds: float) -> str:
    return f"{seconds / snapferry_seconds:.1f} x"


if __name__ == "__main__":
    README.write_text(shown(README.read_text(), Results.load()))
