"""Things that go wrong on purpose: an execution that waits at a state, a function that fails.

Everything is a file in one folder: LocalStack's interpreter looks there before each state, and
every function before each call.
"""

import inspect
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

type Way = Literal["raise", "die", "hang", "linger", "answer"]
"""What a function does: it raises an error after its effect, its process dies there, it stays there
until its time is over, it waits before its effect until it is let go, or it answers otherwise."""

VARIABLE = "SNAPFERRY_SANDBOX_FAULTS"
"""The environment variable of the functions that names the folder."""

_LOOK_EVERY_SECONDS = 0.02


@dataclass(frozen=True)
class Faults:
    """What is to go wrong.

    Attributes:
        folder: where it is written.
    """

    folder: Path

    def clear(self) -> None:
        """Let everything go right, and everybody go on who waits."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def pause_at(self, state_machine: str, state: str) -> None:
        """Have the next execution that comes to a state wait there, entered but not begun.

        One that waits already goes on.

        Args:
            state_machine: its name.
            state: its name.
        """
        (self.folder / "paused").unlink(missing_ok=True)
        self._write("pause", {"state_machine": state_machine, "state": state})

    def go_on(self) -> None:
        """Let the execution go on, or the function that lingers."""
        (self.folder / "go_on").touch()

    def has_paused(self) -> bool:
        """Whether an execution waits, or has waited."""
        return (self.folder / "paused").exists()

    def arm(self, handler: str, way: Way, **details: Any) -> None:
        """Have the next call of a handler go wrong, and no other one.

        Args:
            handler: its name, or that of one of its steps.
            way: how.
            details: `answer`, what its answer has besides; `after_bulks`, in the middle of its
                effect, when it has sent so many bulks.
        """
        for mark in ("struck", "ended"):
            (self.folder / f"{mark}-{handler}").unlink(missing_ok=True)
        self._write(f"handler-{handler}", {"way": way, **details})

    def has_struck(self, handler: str) -> bool:
        """Whether the call that goes wrong has come."""
        return (self.folder / f"struck-{handler}").exists()

    def has_ended(self, handler: str) -> bool:
        """Whether a function that lingered has done its work."""
        return (self.folder / f"ended-{handler}").exists()

    def _write(self, name: str, fault: dict[str, Any]) -> None:
        beside = self.folder / f".{name}"
        beside.write_text(json.dumps(fault))
        beside.rename(self.folder / name)


def take(folder: Path, name: str, taken: str) -> Any:
    """Take a fault, so that nobody else does; None where there is none."""
    try:
        (folder / name).rename(folder / taken)
    except FileNotFoundError:
        return None
    return json.loads((folder / taken).read_text())


def is_fenced(handler: Callable[..., Any]) -> bool:
    """Whether a handler has its effect behind the fence: it names `clients.effect` itself.

    One that only hands it on, to be let in again and again, doesn't.
    """
    return "effect" in inspect.unwrap(handler).__code__.co_names


def wait_to_go_on(folder: Path, taken: str) -> None:
    """Wait until `Faults.go_on`, or until nothing is to go wrong any more."""
    while (folder / taken).exists() and not (folder / "go_on").exists():
        time.sleep(_LOOK_EVERY_SECONDS)
    (folder / "go_on").unlink(missing_ok=True)
