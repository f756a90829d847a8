"""Shows a migration's progress: as bars on a terminal, as lines elsewhere."""

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn

_SECONDS_BETWEEN_LINES = 5


class ProgressDisplay:
    """Shows the snapshots and restores of a migration while they run."""

    def __init__(self, console: Console) -> None:
        """Make a display which shows something from its context's start to its end.

        Args:
            console: where to show it.
        """
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._line = ""
        self._next_line_at = 0.0
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[details]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def show(self, looks: Iterable[Mapping[str, Any]]) -> None:
        """Show the migration's records of progress."""
        for look in looks:
            name = f"{look['record'].partition('#')[2]} round {look['round']} {look['phase']}"
            if self._console.is_terminal:
                self._show_bar(name, look)
            else:
                self._print(name, look)

    def _show_bar(self, name: str, look: Mapping[str, Any]) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, details="")
        # What is reused or empty copies nothing, and is done all the same.
        done = 1.0 if look["ended"] else _share(look)
        self._bars.update(self._tasks[name], total=1, completed=done, details=describe(look))

    def _print(self, name: str, look: Mapping[str, Any]) -> None:
        line = f"  {name}: {describe(look)}"
        now = time.monotonic()
        if line != self._line and (look["ended"] or now >= self._next_line_at):
            self._line, self._next_line_at = line, now + _SECONDS_BETWEEN_LINES
            self._console.print(line)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()


def describe(look: Mapping[str, Any]) -> str:
    """Say in one line how far a copy is."""
    parts = [
        f"{decimal(int(look['bytes_done']))} of {decimal(int(look['bytes_total']))}",
        f"{look['files_done']} of {look['files_total']} files",
        f"{decimal(int(look['bytes_per_second']))}/s",
    ]
    if look["ended"]:
        parts.append(f"{float(look['elapsed_seconds']):.1f} s")
    elif look["remaining_seconds"] is not None:
        parts.append(f"{look['remaining_seconds']} s to go")
    return ", ".join(parts)


def _share(look: Mapping[str, Any]) -> float:
    return float(look["bytes_done"] / look["bytes_total"]) if look["bytes_total"] else 0.0
