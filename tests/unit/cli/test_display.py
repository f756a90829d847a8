import io
from typing import Any

import pytest
from rich.console import Console

from snapferry_cli.display import CopyDisplay, describe, duration


def copy(**changes: Any) -> dict[str, Any]:
    return {
        "domain": "source-1",
        "phase": "restore",
        "round": 2,
        "ended": False,
        "bytes_done": 5_000_000,
        "bytes_total": 20_000_000,
        "files_done": 3,
        "files_total": 30,
        "bytes_per_second": 1_000_000,
        "remaining_seconds": 15,
        "elapsed_seconds": 5.04,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "5.0 MB of 20.0 MB, 3 of 30 files, 1.0 MB/s, 15 s to go"),
        ({"remaining_seconds": None}, "5.0 MB of 20.0 MB, 3 of 30 files, 1.0 MB/s"),
        ({"ended": True}, "5.0 MB of 20.0 MB, 3 of 30 files, 1.0 MB/s, 5.0 s"),
    ],
)
def test_a_line_for_a_copy(changes: dict[str, Any], text: str) -> None:
    assert describe(copy(**changes)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7261, "2 h 1 min"),
        (14 * 86_400 + 3600, "14 d 1 h"),
    ],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_where_there_is_no_terminal() -> None:
    output = io.StringIO()
    with CopyDisplay(Console(file=output, width=120)) as display:
        for _ in range(3):
            display.show([copy(), copy(domain="source-2")])
        for _ in range(3):
            display.show([copy(ended=True), copy(domain="source-2")], "status")
    lines = output.getvalue().splitlines()
    assert [line.partition(": ")[0].strip() for line in lines] == [
        "source-1 round 2 restore",
        "source-2 round 2 restore",
        "source-1 round 2 restore",
    ]
    assert [line.rpartition(", ")[2] for line in lines] == ["15 s to go", "15 s to go", "5.0 s"]


def test_bars_on_a_terminal_above_the_status_and_lines_of_what_ended() -> None:
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True, color_system=None)
    with CopyDisplay(console) as display:
        display.show([copy(bytes_total=0, bytes_done=0)], "m-1, 3 s")
        display.show([copy()], "m-1, 5 s")
        console.print("between")
        display.show([copy(ended=True)], "m-1, 7 s")
    shown = output.getvalue()
    assert "source-1 round 2 restore" in shown
    assert "25 %" in shown
    assert "m-1, 5 s" in shown
    assert "between" in shown
    assert "  source-1 round 2 restore: 5.0 MB of 20.0 MB, 3 of 30 files, 1.0 MB/s, 5.0 s" in shown
