import io
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from snapferry_sandbox.demo.progress import ProgressDisplay, describe


def look(**changes: Any) -> dict[str, Any]:
    """A record as DynamoDB gives it: numbers are decimals."""
    return {
        "record": "progress#source-1",
        "phase": "restore",
        "round": Decimal(2),
        "ended": False,
        "bytes_done": Decimal(5_000_000),
        "bytes_total": Decimal(20_000_000),
        "files_done": Decimal(3),
        "files_total": Decimal(30),
        "bytes_per_second": Decimal(1_000_000),
        "remaining_seconds": Decimal(15),
        "elapsed_seconds": Decimal("5.04"),
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
def test_a_line_for_a_look(changes: dict[str, Any], text: str) -> None:
    assert describe(look(**changes)) == text


def test_lines_where_there_is_no_terminal() -> None:
    output = io.StringIO()
    with ProgressDisplay(Console(file=output, width=120)) as display:
        for _ in range(3):
            display.show([look()])
        for _ in range(3):
            display.show([look(ended=True)])
    lines = output.getvalue().splitlines()
    assert [line.rpartition(", ")[2] for line in lines] == ["15 s to go", "5.0 s"]
    assert lines[0].startswith("  source-1 round 2 restore: ")


def test_a_bar_on_a_terminal() -> None:
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True)
    with ProgressDisplay(console) as display:
        display.show([look(bytes_total=Decimal(0), bytes_done=Decimal(0))])
        display.show([look()])
        display.show([look(ended=True)])
    assert "source-1 round 2 restore" in output.getvalue()
    assert "100 %" in output.getvalue()
