"""What the documents say is so."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from snapferry.artifacts.kinds import _KEPT_SETTINGS
from snapferry.metrics import UNITS
from snapferry.versions import Version, oldest_readable
from snapferry_cli.main import parser
from snapferry_sandbox.world import Options
from tests.sandbox import test_engines
from tests.unit.test_readme import errors_that_end_a_migration

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))


def anchors(document: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *DOCUMENTS], ids=lambda document: document.name
)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        file, _, anchor = link.partition("#")
        target = document.parent / file if file else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_command_lines_are_understood() -> None:
    lines = [
        line
        for document in DOCUMENTS
        for line in re.findall(r"^ *(snapferry .*)$", document.read_text(), re.MULTILINE)
    ]
    assert lines
    for line in lines:
        assert parser().parse_args(shlex.split(line, comments=True)[1:])


def test_the_metrics_are_those_that_are_emitted() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\S+) \|", (ROOT / "docs/watching.md").read_text(), re.MULTILINE
    )
    assert dict(rows) == {name: unit.value for name, unit in UNITS.items()}


def test_there_is_a_way_out_of_every_error() -> None:
    explained = re.findall(r"^### (\w+)$", (ROOT / "docs/recovery.md").read_text(), re.MULTILINE)
    assert set(explained) == errors_that_end_a_migration()
    assert len(set(explained)) == len(explained)


def test_the_versions_that_a_destination_takes_are_those_of_the_plan() -> None:
    rows = re.findall(
        r"^\| OpenSearch (\d) \| (.*) or later \|$",
        (ROOT / "docs/versions.md").read_text(),
        re.MULTILINE,
    )
    assert rows
    for major, oldest in rows:
        assert oldest == str(oldest_readable(Version(True, int(major))))


def test_the_settings_that_are_copied_are_listed() -> None:
    text = (ROOT / "docs/artifacts.md").read_text()
    listed = text.partition("\nCopied settings: ")[2].partition(". Transient ones")[0]

    assert re.findall(r"`(.*?)`", listed) == sorted(_KEPT_SETTINGS)


def test_the_engines_that_are_tried_are_those_of_the_tests() -> None:
    text = " ".join((ROOT / "docs/versions.md").read_text().split())
    said = re.search(
        r"while clients write: (.*?); all other tests use (\S+) on both sides\. (.*)", text
    )
    assert said
    moved, engine, rejected = said.groups()

    def tried(test: Any) -> set[str]:
        return {
            world.id
            for mark in test.pytestmark
            if mark.name == "parametrize"
            for world in mark.args[1]
        }

    def pairs(sentence: str) -> set[str]:
        found = re.findall(r"(\d+\.\d+\.\d+) to (\d+\.\d+\.\d+)", sentence)
        return {f"{source}-to-{destination}" for source, destination in found}

    assert pairs(moved) == tried(test_engines.test_moves_to_a_newer_engine)
    too_old = test_engines.test_engine_that_is_too_old_is_rejected_index_by_index
    assert pairs(rejected) == tried(too_old)
    assert {Options().source, Options().destination} == {engine}
