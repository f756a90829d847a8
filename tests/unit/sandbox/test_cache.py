"""The sandbox's cache."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snapferry_sandbox.cache import kept


def test_a_thing_is_made_once_though_several_want_it(tmp_path: Path) -> None:
    made = []

    def make(folder: Path) -> Path:
        made.append(folder)
        (folder / "program").write_text("half")
        (folder / "program").write_text("whole")
        return folder / "program"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kept(tmp_path / "cache/program", make), range(8)))

    assert [path.read_text() for path in found] == ["whole"] * 8
    assert len(made) == 1


def test_what_is_half_made_is_made_anew(tmp_path: Path) -> None:
    def fail(folder: Path) -> Path:
        (folder / "program").write_text("half")
        raise ConnectionError

    def make(folder: Path) -> Path:
        assert not list(folder.iterdir())
        (folder / "program").write_text("whole")
        return folder / "program"

    with pytest.raises(ConnectionError):
        kept(tmp_path / "program", fail)
    assert not (tmp_path / "program").exists()
    assert kept(tmp_path / "program", make).read_text() == "whole"
