import io
from typing import Any

import pytest
from rich.console import Console

from snapferry_cli.display import ProgressDisplay, describe, duration


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


CATCHING_UP = {
    "domain": "source-1",
    "phase": "catching up: writes stop",
    "ended": False,
    "documents": 12_345,
    "deletes": 67,
    "seconds": 2.34,
    "lag": 1_000,
    "predicted_write_stop_seconds": 3.1,
}
COMPARING = {
    "domain": "source-2",
    "phase": "documents compared: after",
    "ended": False,
    "documents": 250_000,
    "documents_total": 1_000_000,
    "documents_per_second": 17_000,
    "slices_done": 25,
    "slices": 100,
    "elapsed_seconds": 15.0,
    "remaining_seconds": 45,
}


def test_lines_for_catching_up_and_for_the_comparison_of_documents() -> None:
    assert describe(CATCHING_UP) == (
        "12,345 documents and 67 deletes in 2.3 s, 1,000 operations behind, write stop about 3.1 s"
    )
    compared = "250,000 of 1,000,000 documents, 25 of 100 slices, 17,000 documents/s"
    assert describe(COMPARING) == f"{compared}, 45 s to go"
    assert describe(COMPARING | {"ended": True}) == f"{compared}, 15.0 s"


def test_a_round_that_fails_is_shown_with_its_reason() -> None:
    output = io.StringIO()
    failing = {"phase": "catching up: writes stop", "domain": "logs", "ended": False}
    with ProgressDisplay(Console(file=output, width=160)) as display:
        display.show([failing | {"failing": "the source answered 403"}])
    assert output.getvalue() == (
        "  logs catching up: writes stop: a round has failed, and is tried again: the source "
        "answered 403\n"
    )


def test_every_phase_is_shown_as_it_goes() -> None:
    output = io.StringIO()
    console = Console(file=output, width=160, force_terminal=True, color_system=None)
    with ProgressDisplay(console) as display:
        display.show([CATCHING_UP, COMPARING])
        display.show([CATCHING_UP | {"ended": True}, COMPARING | {"ended": True}])
    shown = output.getvalue()
    assert "25 %" in shown
    assert "  source-1 catching up: writes stop: 12,345 documents" in shown
    assert "  source-2 documents compared: after: 250,000 of 1,000,000 documents" in shown


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
    with ProgressDisplay(Console(file=output, width=120)) as display:
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
    with ProgressDisplay(console) as display:
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
