"""Shows how far domains are: as bars on a terminal, as lines elsewhere."""

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.filesize import decimal
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

_SECONDS_BETWEEN_LINES = 5


class ProgressDisplay:
    """Shows the progress of a migration, from its context's start to its end."""

    def __init__(self, console: Console) -> None:
        """Make a display.

        Args:
            console: where to show it. What is printed there meanwhile stands above the bars.
        """
        self._console = console
        self._ended: set[str] = set()
        self._lines: dict[str, tuple[str, float]] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[details]}"),
            console=console,
            auto_refresh=False,
        )
        self._live = (
            Live(console=console, auto_refresh=False, transient=True)
            if console.is_terminal
            else None
        )

    def show(self, domains: Iterable[Mapping[str, Any]], status: str = "") -> None:
        """Shows how far the domains are.

        Args:
            domains: of each its latest progress, see `migration.Look`.
            status: a line below the bars.
        """
        for look in domains:
            name = _name(look)
            if look["ended"]:
                self._show_end(name, look)
            elif self._live:
                self._show_bar(name, look)
            else:
                self._show_line(name, look)
        if self._live:
            self._live.update(Group(self._bars, Text(status)), refresh=True)

    def _show_end(self, name: str, look: Mapping[str, Any]) -> None:
        if look["domain"] in self._tasks:
            self._bars.remove_task(self._tasks.pop(look["domain"]))
        if name not in self._ended:
            self._ended.add(name)
            self._print(name, look)

    def _show_bar(self, name: str, look: Mapping[str, Any]) -> None:
        domain = look["domain"]
        completed, total = _share(look)
        if domain not in self._tasks:
            self._tasks[domain] = self._bars.add_task(name, details="")
        self._bars.update(
            self._tasks[domain],
            description=name,
            total=total,
            completed=completed,
            details=describe(look),
        )

    def _show_line(self, name: str, look: Mapping[str, Any]) -> None:
        text = f"{name}: {describe(look)}"
        now = time.monotonic()
        last, next_at = self._lines.get(look["domain"], ("", 0.0))
        if text != last and now >= next_at:
            self._lines[look["domain"]] = text, now + _SECONDS_BETWEEN_LINES
            self._print(name, look)

    def _print(self, name: str, look: Mapping[str, Any]) -> None:
        self._console.print(f"  {name}: {describe(look)}", markup=False)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()


def describe(look: Mapping[str, Any]) -> str:
    """Says in one line how far a domain is."""
    match look:
        case {"failing": failing}:
            return f"a round has failed, and is tried again: {failing}"
        case {"lag": lag}:
            return (
                f"{look['documents']:,} documents and {look['deletes']:,} deletes in "
                f"{look['seconds']:.1f} s, {lag:,} operations behind, "
                f"write stop about {look['predicted_write_stop_seconds']:.1f} s"
            )
        case {"slices": slices}:
            parts = [
                f"{look['documents']:,} of {look['documents_total']:,} documents",
                f"{look['slices_done']:,} of {slices:,} slices",
                f"{look['documents_per_second']:,} documents/s",
            ]
        case _:
            parts = [
                f"{decimal(look['bytes_done'])} of {decimal(look['bytes_total'])}",
                f"{look['files_done']} of {look['files_total']} files",
                f"{decimal(look['bytes_per_second'])}/s",
            ]
    if look["ended"]:
        parts.append(f"{look['elapsed_seconds']:.1f} s")
    elif look["remaining_seconds"] is not None:
        parts.append(f"{duration(look['remaining_seconds'])} to go")
    return ", ".join(parts)


def _name(look: Mapping[str, Any]) -> str:
    """What the domain is at; snapshots and restores come in rounds."""
    of_round = [f"round {look['round']}"] if "round" in look else []
    return " ".join([look["domain"], *of_round, look["phase"]])


def _share(look: Mapping[str, Any]) -> tuple[float, float | None]:
    """How much is done, of how much; None where nobody knows, as clients go on writing."""
    match look:
        case {"lag": _} | {"failing": _}:
            return 0, None
        case {"slices": slices}:
            return look["slices_done"], slices or 1
        case _:
            return look["bytes_done"], look["bytes_total"] or 1


def duration(seconds: float) -> str:
    """Says how long something takes, in the two largest units that matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [
        f"{number} {unit}"
        for number, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
        if number
    ]
    return " ".join(parts[:2]) or "0 s"
