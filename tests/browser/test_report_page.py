"""The report's page in a real browser: it opens, sorts and filters, and says what the JSON says."""

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, sync_playwright

from snapferry import listing, report, rounds
from snapferry.indices import Index
from snapferry.journal import Place
from snapferry.prediction import Tally
from snapferry.records import Records
from snapferry.verification import Verdict
from snapferry.verification.documents import IndexComparison
from snapferry.ways import Slice, Ways
from tests.unit.conftest import Announcements, Events, Storage
from tests.unit.tables import table

BEGAN_AT = 1_800_000_000.0


@dataclass(frozen=True)
class Report:
    """What a migration of the domain `logs` has written.

    Attributes:
        json: for programs.
        page: for people.
    """

    json: dict[str, Any]
    page: str

    @property
    def domain(self) -> dict[str, Any]:
        [only] = self.json["domains"]
        return dict(only)


@pytest.fixture(scope="module")
def written() -> Iterator[Report]:
    """The report of forty indices, whose figures are of every size."""
    with table() as items:
        storage = Storage(items)
        records = storage.records
        moved = _move(records, random.Random(7))  # noqa: S311
        for kind in ("repository", "role", "role_mapping"):
            storage.journal.note(Place("destination", kind, f"{kind}-1"), None, {"is": "ours"})
        report.write(
            records,
            Events().bus,
            Announcements().topic,
            [moved],
            None,
            {"given_back": 2},
            "2026-01-15T07:55:00Z",
        )
        page = storage.s3.objects["migrations/m-1/report.html"].decode()
        yield Report(records.read("report"), page)


def _move(records: Records, chance: random.Random) -> dict[str, Any]:
    """Leaves the records that the states leave; returns what the domain ends with."""
    sizes = [int(10 ** chance.uniform(0, 11)) for _ in range(40)]
    listed = [
        Index(f"logs-{number:02}", "uuid", True, 1 + number % 5, 1, size, created_at_milliseconds=1)
        for number, size in enumerate(sizes)
    ]
    listing.keep(records, "logs", 2, listed)
    for number in (1, 2):
        rounds.note(
            records,
            "logs",
            number,
            final=number == 2,
            **{
                phase: {
                    "ended_at": BEGAN_AT + 100 * number + later,
                    "seconds": chance.uniform(1, 40),
                    "bytes_new": sum(sizes) // number,
                    "bytes_reused": sum(sizes) - sum(sizes) // number,
                }
                for phase, later in (("snapshot", 0), ("restore", 50))
            },
        )
    names = [index.name for index in listed]
    by_snapshot = dict.fromkeys(names[30:], "it is append-only")
    Ways(1, [Slice(names[:30], by_snapshot)]).keep(records, "logs")
    tally = Tally(1.5)
    tally.slices[0].rounds = [
        {"phase": phase, "began_at": BEGAN_AT + at, "ended_at": BEGAN_AT + at + 9, "rounds": 1}
        | {"documents": 1_954, "deletes": 12, "bytes": 1_954_000, "seconds": 8.75, "lag": 3}
        for phase, at in (("lag fits", 260.0), ("writes stop", 280.0), ("last", 300.0))
    ]
    tally.keep(records, "logs")
    verdicts = [
        Verdict(index.name, size, size, index.shards, "green", [])
        for index, size in zip(listed, sizes, strict=True)
    ]
    records.write("logs/verification", [verdict.record() for verdict in verdicts])
    for moment, at in (("before", 240.0), ("after", 320.0)):
        compared = [
            IndexComparison(name, [], 10_000, 2, 2, 2, documents=chance.randrange(50_000))
            for name in names
        ]
        records.write(
            f"logs/documents-{moment}",
            {
                "began_at": BEGAN_AT + at,
                "ended_at": BEGAN_AT + at + 15,
                "indices": [asdict(index) for index in compared],
            },
        )
    for step, at in (("freeze_source", 299.0), ("catch_up_last", 301.5)):
        records.put(
            f"step#logs#{step}",
            entered_at=BEGAN_AT + at,
            began_at=BEGAN_AT + at + 0.25,
            ended_at=BEGAN_AT + at + chance.uniform(0.5, 2),
        )
    records.put(
        "gate#logs#stop_writes",
        gate="stop_writes",
        announced_at=BEGAN_AT + 280,
        answered_at=BEGAN_AT + 298,
    )
    records.write(
        "logs/artifacts", [{"kind": "role", "name": "r", "verdict": "same", "reason": None}]
    )
    return {
        "domain": "logs",
        "status": "SUCCEEDED",
        "indices": len(listed),
        "documents": sum(sizes),
        "primary_store_bytes": sum(sizes),
        "write_stop": {
            "stopped_at": BEGAN_AT + 299,
            "seconds": 5.2,
            "predicted_seconds": 4.5,
            "predicted_interval_seconds": [3.0, 9.0],
        },
    }


@pytest.fixture(scope="module")
def page(written: Report, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page, opened from a file by a browser without network."""
    executable = shutil.which("chromium")
    if executable is None and os.geteuid():
        pytest.skip("there is no Chromium, and only root can install it: apt-get install chromium")
    assert executable, "these tests need Chromium: apt-get install chromium"
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(written.page)
    with sync_playwright() as playwright:
        # Root, as whom CI runs, has no sandbox.
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        opened = browser.new_context(offline=True).new_page()
        complaints: list[str] = []
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("requestfailed", lambda request: complaints.append(request.url))
        opened.goto(file.as_uri())
        yield opened
        assert complaints == []
        browser.close()


def section(page: Page, title: str) -> Locator:
    return page.locator("section", has=page.get_by_role("heading", name=title, exact=True))


def column(table: Locator, heading: str) -> list[Any]:
    """The cells of a column: their numbers where they have them, their text otherwise."""
    headings = table.locator("th").all_inner_texts()
    cells = table.locator(f"tbody tr:visible td:nth-child({headings.index(heading) + 1})")
    return [
        text if value is None else float(value)
        for value, text in cells.evaluate_all(
            "cells => cells.map(cell => [cell.dataset.value ?? null, cell.textContent])"
        )
    ]


def test_the_outcome_comes_first(page: Page, written: Report) -> None:
    assert page.locator("h1").inner_text() == (
        f"Migration {written.json['migration_id']} {written.json['status']}"
    )
    assert page.locator("ul").first.locator("li").all_inner_texts() == written.json["to_do"]


def test_its_figures_are_those_of_the_json(page: Page, written: Report) -> None:
    figures = page.locator(".figures > div")
    shown = {
        name: float(value)
        for name, value in figures.evaluate_all(
            "all => all.map(each => [each.lastChild.textContent, each.firstChild.dataset.value])"
        )
    }
    assert shown == {
        "documents": written.domain["documents"],
        "indices": written.domain["indices"],
        "in primaries": written.domain["primary_store_bytes"],
        "in all": written.json["seconds"],
        "write stop": written.domain["write_stop"]["seconds"],
        "write stop predicted": written.domain["write_stop"]["predicted_seconds"],
    }


@pytest.mark.parametrize(
    ("heading", "key"),
    [
        ("Index", "index"),
        ("Source", "source_documents"),
        ("Destination", "destination_documents"),
        ("Primaries", "primary_store_bytes"),
        ("Shards", "shards"),
        ("Compared before", "compared_before"),
        ("Compared after", "compared_after"),
        ("Written since", "written_since"),
    ],
)
def test_a_table_is_sorted_by_a_column_and_its_numbers_are_those_of_the_json(
    page: Page, written: Report, heading: str, key: str
) -> None:
    indices = section(page, "Indices")
    values = sorted(row[key] for row in written.domain["index_table"])
    button = indices.get_by_role("button", name=heading, exact=True)

    button.click()
    assert column(indices, heading) == values
    button.click()
    assert column(indices, heading) == values[::-1]


def test_a_table_is_filtered(page: Page, written: Report) -> None:
    indices = section(page, "Indices")
    field = indices.get_by_label("Filter")

    field.fill("LAST snapshot")
    rows = written.domain["index_table"]
    by_snapshot = {row["index"] for row in rows if row["way"] == "last snapshot"}
    assert 0 < len(by_snapshot) < len(rows)
    assert set(column(indices, "Index")) == by_snapshot
    assert indices.locator("output").inner_text() == (
        f"{len(by_snapshot)} of {len(written.domain['index_table'])}"
    )
    field.fill("")
    assert len(column(indices, "Index")) == len(rows)


def test_rounds_and_documents_are_those_of_the_json(page: Page, written: Report) -> None:
    phases = [each[phase] for each in written.domain["rounds"] for phase in ("snapshot", "restore")]
    rounds = section(page, "Rounds")
    assert column(rounds, "Copied") == [phase["bytes_new"] for phase in phases]
    assert column(rounds, "Reused") == [phase["bytes_reused"] for phase in phases]
    assert column(rounds, "Time") == [phase["seconds"] for phase in phases]
    caught_up = section(page, "Catching up")
    assert column(caught_up, "Documents") == [
        each["documents"] for each in written.domain["catch_up"]["rounds"]
    ]
    steps = section(page, "Write stop")
    assert column(steps, "Work") == [
        step["seconds"] for step in written.domain["catch_up"]["write_stop_steps"]
    ]
    compared = section(page, "Documents compared")
    assert column(compared, "Documents") == [
        sum(row[f"compared_{moment}"] for row in written.domain["index_table"])
        for moment in column(compared, "Write stop")
    ]


def test_every_phase_and_every_change_is_there(page: Page, written: Report) -> None:
    phases = section(page, "Timeline").locator("li")
    assert [text.split("\n")[0] for text in phases.all_inner_texts()] == [
        phase["phase"] for phase in written.domain["timeline"]
    ]
    changes = section(page, "Changes made and given back")
    assert column(changes, "State") == [
        change["state"].replace("_", " ") for change in written.json["changes"]
    ]
