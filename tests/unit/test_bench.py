"""The bench's workload, and how its figures are shown."""

import json
import re
from collections import Counter
from pathlib import Path

from bench import cut_overs, scale
from bench.results import Figures, Results, shown
from bench.workload import Workload


def test_a_churn_has_its_mix() -> None:
    workload = Workload("some")
    assert Counter(each["_op_type"] for each in workload.appends(2_000)) == {"create": 2_000}

    verbs = Counter(each["_op_type"] for each in workload.churn("random", appended=100))
    assert verbs == {"create": 100, "index": 20, "delete": 10}
    verbs = Counter(each["_op_type"] for each in workload.churn("appends", appended=100))
    assert verbs == {"create": 100}
    assert workload.documents == 2_190


def test_nothing_is_changed_that_another_thread_may_still_have_to_write() -> None:
    workload = Workload("some")
    written = len(list(workload.appends(9_000)))
    for action in workload.churn("random", appended=1_000):
        if action["_op_type"] == "create":
            written += 1
        else:
            # Two threads have a thousand in hand, and as many wait.
            assert int(action["_id"]) < written - 4_000


def test_a_churn_goes_on_where_it_was() -> None:
    workload = Workload("some")
    list(workload.appends(100))
    verbs = Counter(
        each["_op_type"] for _ in range(13) for each in workload.changes("random", number=10)
    )
    assert verbs == {"create": 100, "index": 20, "delete": 10}


def test_what_is_deleted_is_not_changed_again() -> None:
    workload = Workload("some")
    list(workload.appends(50))
    deleted = set()
    for action in workload.churn("random", appended=300):
        assert action["_id"] not in deleted
        if action["_op_type"] == "delete":
            deleted.add(action["_id"])


def test_the_table_compares_with_snapferry() -> None:
    contenders = {
        "snapferry": [2.0, 2.1, 2.0],
        "guide_default": [30.0, 60.0, 130.0],
        "guide_tuned": [30.0, 60.0, 121.0],
        "warm_restore": [29.0, 59.0, 119.0],
        "reindex_from_remote": [40.0, 80.0, 160.0],
        "elasticdump": [41.0, 81.0, 161.0],
        "bare_api": [1.0, 1.1, 1.0],
    }
    figures = Figures([125_000_000, 250_000_000, 500_000_000], contenders, contenders)
    appends = Figures([130_000_000, 260_000_000, 520_000_000], contenders, contenders)
    results = Results(
        versions={"opensearch": "3.6.0"},
        cap={"bytes_per_second_per_node_and_direction": 4_000_000},
        appends=appends,
        random=figures,
    )

    readme = shown("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n", results)

    assert readme.startswith("before\n<!-- bench -->\n| Writes stop for | 125 MB | 250 MB | 500 MB")
    assert readme.endswith(
        "|\n\nopensearch 3.6.0; each node's network carries 4 MB/s, either way.\n"
        "<!-- /bench -->\nafter\n"
    )
    assert "| appends only, 520 MB | ratio | all in all, 500 MB |" in readme
    [row] = [line for line in readme.splitlines() if "limits lifted" in line]
    assert row.split(" | ")[1:] == [
        "30.0 s",
        "60.0 s",
        "121.0 s",
        "60.5 x",
        "121.0 s",
        "60.5 x",
        "121 s |",
    ]


def test_the_figures_of_the_comparison_are_the_measured_ones() -> None:
    clone = Path(__file__).parents[2]
    measured = json.loads((clone / "bench/verification.json").read_text())
    rows = re.findall(
        r"^\| (by digests|one by one), .* \| ([\d,]+) \| ([\d,]+) \| (\d+) MiB \|$",
        (clone / "docs/verification.md").read_text(),
        re.MULTILINE,
    )

    assert {part.removeprefix("by ") for part, *_ in rows} == measured.keys()
    for part, *figures_shown in rows:
        figures = measured[part.removeprefix("by ")]
        assert figures_shown == [
            f"{figures['documents']:,}",
            f"{figures['documents_per_second']:,}",
            f"{figures['most_mebibytes']}",
        ]


def test_the_runbook_shows_how_far_off_predictions_were() -> None:
    figures = json.loads(cut_overs.FIGURES.read_text())
    runbook = (Path(__file__).parents[2] / "docs/cut-over.md").read_text()

    assert cut_overs.summary(figures) in " ".join(runbook.split())


def test_no_call_takes_more_than_the_document_of_scale_says() -> None:
    largest = json.loads(scale.RESULTS.read_text())["10000"].values()
    document = " ".join(scale.DOCUMENT.read_text().split())

    assert "10,000 of them no call takes ten seconds of a processor, or 256 MiB." in document
    assert max(measured["cpu_seconds"] for measured in largest) < 10
    assert max(measured["most_bytes"] for measured in largest) < 256 * 2**20


def test_the_document_shows_the_figures_of_scale() -> None:
    sizes = json.loads(scale.RESULTS.read_text())
    document = scale.DOCUMENT.read_text()

    assert scale.shown(document, sizes) == document
    small, large = sizes
    times = int(large) / int(small)
    for name, measured in sizes[large].items():
        assert measured["answer_bytes"] < 256 * 1024
        assert measured["cpu_seconds"] < 2 * times * sizes[small][name]["cpu_seconds"]
