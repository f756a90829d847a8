"""Shows copies while they run: as bars on a terminal, as lines elsewhere."""

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


class CopyDisplay:
    """Shows the snapshots and restores of a migration, from its context's start to its end."""

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

    def show(self, copies: Iterable[Mapping[str, Any]], status: str = "") -> None:
        """Shows how far the copies are.

        Args:
            copies: for each domain its latest, see `migration.Look`.
            status: a line below the bars.
        """
        for copy in copies:
            name = f"{copy['domain']} round {copy['round']} {copy['phase']}"
            if copy["ended"]:
                self._show_end(name, copy)
            elif self._live:
                self._show_bar(name, copy)
            else:
                self._show_line(name, copy)
        if self._live:
            self._live.update(Group(self._bars, Text(status)), refresh=True)

    def _show_end(self, name: str, copy: Mapping[str, Any]) -> None:
        if copy["domain"] in self._tasks:
            self._bars.remove_task(self._tasks.pop(copy["domain"]))
        if name not in self._ended:
            self._ended.add(name)
            self._print(name, copy)

    def _show_bar(self, name: str, copy: Mapping[str, Any]) -> None:
        domain = copy["domain"]
        if domain not in self._tasks:
            self._tasks[domain] = self._bars.add_task(name, details="")
        self._bars.update(
            self._tasks[domain],
            description=name,
            total=copy["bytes_total"] or 1,
            completed=copy["bytes_done"],
            details=describe(copy),
        )

    def _show_line(self, name: str, copy: Mapping[str, Any]) -> None:
        text = f"{name}: {describe(copy)}"
        now = time.monotonic()
        last, next_at = self._lines.get(copy["domain"], ("", 0.0))
        if text != last and now >= next_at:
            self._lines[copy["domain"]] = text, now + _SECONDS_BETWEEN_LINES
            self._print(name, copy)

    def _print(self, name: str, copy: Mapping[str, Any]) -> None:
        self._console.print(f"  {name}: {describe(copy)}", markup=False)

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


def describe(copy: Mapping[str, Any]) -> str:
    """Says in one line how far a copy is."""
    parts = [
        f"{decimal(copy['bytes_done'])} of {decimal(copy['bytes_total'])}",
        f"{copy['files_done']} of {copy['files_total']} files",
        f"{decimal(copy['bytes_per_second'])}/s",
    ]
    if copy["ended"]:
        parts.append(f"{copy['elapsed_seconds']:.1f} s")
    elif copy["remaining_seconds"] is not None:
        parts.append(f"{duration(copy['remaining_seconds'])} to go")
    return ", ".join(parts)


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
