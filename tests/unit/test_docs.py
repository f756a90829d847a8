"""What the documents say is so."""

import re
import shlex
from pathlib import Path

import pytest

from snapferry.metrics import UNITS
from snapferry.versions import Version, oldest_readable
from snapferry_cli.main import parser
from tests.unit.test_readme import errors_that_end_a_migration

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))


def anchors(document: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
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
    assert set(explained) == errors_that_end_a_migration() | {"NotGivenBack"}
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
