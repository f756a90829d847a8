"""Documents compared between two fake clusters, whose clients do what real ones can't be made to.

The index `orders` was restored, and is caught up.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from opensearchpy import OpenSearch

from snapferry import catchup, indices, verification
from snapferry.catchup.qualification import ALTERED
from snapferry.errors import SourceChanged, Unavailable, VerificationFailed
from snapferry.request import DomainJob
from snapferry.verification import Moment, Verification, documents, slices
from snapferry.verification.documents import IndexComparison
from snapferry.ways import Slice, Ways
from tests.unit.conftest import MakeJob, Storage
from tests.unit.fake_shards import FakeShard, FakeTailCluster, FakeTailIndex, shards
from tests.unit.fakes import Fault
from tests.unit.told_metrics import told

INDEX = "orders"
DOMAIN = "logs"


@dataclass
class Copy:
    """An index `orders` of two shards on both sides."""

    source: FakeTailCluster
    destination: FakeTailCluster
    storage: Storage
    job: DomainJob

    @property
    def clients(self) -> tuple[OpenSearch, OpenSearch]:
        return self.source.client("source"), self.destination.client("destination")

    @property
    def shard(self) -> FakeShard:
        """The first one of the source."""
        return self.source.tails[INDEX].shards[0]

    @property
    def copy(self) -> FakeShard:
        """The first one of the destination."""
        return self.destination.tails[INDEX].shards[0]

    def catch_up(self) -> None:
        """As far as nobody writes, both sides are equal afterwards."""
        done = catchup.run_last_round(
            *self.clients, self.storage.records, DOMAIN, [INDEX], 60, self.sleep
        )
        assert done.indices[0].sealed

    def keep_ends(self, *caught_up: str) -> None:
        verification.keep_ends(*self.clients, self.storage.records, DOMAIN, [INDEX], caught_up)

    def run(self, moment: Moment = "after", hold_seconds: float = 60) -> Verification:
        for cluster in (self.source, self.destination):
            for shard in cluster.tails[INDEX].shards:
                shard.refresh()
        listed = indices.list_all(self.clients[0])
        return verification.run(
            *self.clients,
            self.storage.records,
            self.job,
            moment,
            [listed[INDEX]],
            hold_seconds,
            self.sleep,
        )

    def found(self, moment: Moment = "after") -> IndexComparison:
        done = self.run(moment)
        assert done.has_ended
        [index] = done.indices
        return index

    def outcome(self, moment: Moment = "after") -> dict[str, Any]:
        return verification.outcome(self.storage.records, DOMAIN, moment)

    def sleep(self, seconds: float) -> None:
        self.source.pass_time(seconds)
        self.destination.pass_time(seconds)


def named(index: IndexComparison) -> list[str]:
    return list(map(str, index.differences))


@pytest.fixture
def copy(storage: Storage, make_job: MakeJob) -> Copy:
    made = Copy(
        FakeTailCluster({INDEX: FakeTailIndex(shards(2, documents=20))}),
        FakeTailCluster({}),
        storage,
        make_job(verification="full"),
    )
    catchup.keep_base(made.clients[0], storage.records, DOMAIN, [INDEX], 1, 0, made.sleep)
    made.destination.tails[INDEX] = made.source.tails[INDEX].restored("uuid-restored")
    assert catchup.begin(*made.clients, storage.records, DOMAIN, [INDEX], 1) == {}
    return made


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of seven operations."""
    monkeypatch.setattr(slices, "_LARGEST_WIDTH", 7)


def test_an_equal_copy_has_no_difference(copy: Copy) -> None:
    copy.keep_ends()

    found = copy.found()

    assert (found.documents, named(found), found.done) == (40, [], found.slices_of)


@pytest.mark.usefixtures("narrow")
def test_people_and_cloudwatch_see_how_far_the_comparison_is(
    copy: Copy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_SLICES_BETWEEN_LOOKS", 2)
    copy.keep_ends()

    looks = []
    while not copy.run(hold_seconds=0).has_ended:
        looks.append(copy.storage.items["m-1", "progress#logs"])
    looks.append(copy.storage.items["m-1", "progress#logs"])

    assert {look["phase"] for look in looks} == {"documents compared: after"}
    assert [look["ended"] for look in looks] == [False, False, True]
    assert [(look["slices_done"], look["slices"]) for look in looks] == [(2, 6), (4, 6), (6, 6)]
    assert {look["documents_total"] for look in looks} == {40}
    assert looks[-1]["documents"] == 40
    assert looks[0]["remaining_seconds"] >= 0 == looks[-1]["remaining_seconds"]
    lines = told(capsys)
    assert sum(line["DocumentsCompared"] for line in lines) == 40
    assert [line.get("DifferencesFound") for line in lines] == [None, None, 0]


def test_what_was_caught_up_is_compared_as_well(copy: Copy) -> None:
    copy.shard.index("0-new", routing="a")
    copy.shard.index("0-3")
    copy.shard.delete("0-4")
    copy.catch_up()
    copy.keep_ends(INDEX)

    found = copy.found()

    assert (found.documents, named(found)) == (40, [])


def plant(copy: Copy, key: str, **changes: Any) -> None:
    """Has the destination hold a document otherwise, under the same number."""
    copy.copy.documents[key] = replace(copy.copy.documents[key], **changes)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"source": {"written": "3"}}, "the field written"),
        ({"source": {"written": 3.0}}, "the field written"),
        ({"source": {"written": 3, "more": None}}, "the field more"),
        ({"source": {"else": 3}}, "the field written"),
    ],
    ids=str,
)
def test_a_changed_document_is_found_by_what_differs(
    copy: Copy, changes: dict[str, Any], where: str
) -> None:
    plant(copy, "0-3", **changes)
    copy.keep_ends()

    assert named(copy.found()) == [f"document 0-3 differs in {where}"]


def test_another_routing_is_found(copy: Copy) -> None:
    copy.shard.index("0-routed", routing="a")
    copy.copy.index("0-routed", {"written": 20}, routing="b")
    copy.keep_ends()

    assert named(copy.found()) == ["document 0-routed differs in its routing"]


def test_a_field_is_found_however_deep_it_lies(copy: Copy) -> None:
    for side in (copy.shard, copy.copy):
        side.index("0-deep", {"parts": [{"a": 1}, {"a": 1 if side is copy.shard else "1"}]})
    copy.keep_ends()

    assert named(copy.found()) == ["document 0-deep differs in the field parts[1].a"]


def test_swapped_documents_are_found(copy: Copy) -> None:
    three, four = copy.copy.documents["0-3"], copy.copy.documents["0-4"]
    plant(copy, "0-3", source=four.source)
    plant(copy, "0-4", source=three.source)
    copy.keep_ends()

    assert [each.id for each in copy.found().differences] == ["0-3", "0-4"]


@pytest.mark.usefixtures("narrow")
def test_a_surplus_document_is_found_and_a_missing_one_as_well(copy: Copy) -> None:
    copy.shard.index("0-late")
    copy.catch_up()
    del copy.copy.documents["0-3"]
    del copy.copy.documents["0-late"]
    copy.copy.index("0-surplus")
    copy.keep_ends(INDEX)

    assert sorted(named(copy.found())) == [
        "document 0-3 is missing",
        "document 0-late is missing",
        "document 0-surplus is one too many",
    ]


def test_what_clients_do_at_the_destination_is_no_difference(copy: Copy) -> None:
    copy.keep_ends(INDEX)
    copy.copy.index("0-3", {"written": "by a client"})
    copy.copy.index("0-new")
    copy.copy.delete("0-4")

    found = copy.found()

    assert named(found) == []
    assert (found.documents, found.rewritten, found.gone) == (38, 1, {"0": 1})


def test_more_is_gone_than_clients_have_deleted(copy: Copy) -> None:
    copy.keep_ends(INDEX)
    copy.copy.delete("0-4")
    del copy.copy.documents["0-5"]

    assert named(copy.found()) == ["document 0-4 is missing", "document 0-5 is missing"]
    # As a call that is repeated says it.
    assert len(copy.found().differences) == 2


def moved(shard: FakeShard) -> None:
    shard.move()


def restarted(shard: FakeShard) -> None:
    shard.restart()


def recounted(shard: FakeShard) -> None:
    shard.deletions = 0


@pytest.mark.parametrize("happening", [moved, restarted, recounted])
def test_a_shard_that_counts_its_deletions_anew_can_not_tell_what_was_deleted(
    copy: Copy, happening: Callable[[FakeShard], None]
) -> None:
    copy.copy.deletions = 7
    copy.keep_ends(INDEX)
    copy.copy.delete("0-4")
    happening(copy.copy)
    copy.copy.delete("0-5")

    found = copy.found()

    assert (named(found), found.deleted_or_lost) == ([], 2)
    # As a call that is repeated says it.
    assert copy.found() == found
    [said] = copy.outcome()["indices"]
    assert (said["deleted"], said["deleted_or_lost"]) == (0, 2)
    assert said["deleted_or_lost_examples"] == ["0-4", "0-5"]


def test_a_shard_that_was_restarted_may_have_counted_on_since(copy: Copy) -> None:
    copy.copy.deletions = 1
    copy.keep_ends(INDEX)
    copy.copy.delete("0-4")
    copy.copy.restart()
    copy.copy.deletions = 2
    del copy.copy.documents["0-5"]

    found = copy.found()

    assert (named(found), found.deleted_or_lost) == ([], 2)


def test_before_the_write_stop_only_what_was_restored_is_compared(copy: Copy) -> None:
    copy.shard.index("0-3")
    copy.shard.index("0-new")
    copy.shard.delete("0-4")

    before = copy.found("before")

    assert (before.documents, named(before), len(before.undecided)) == (38, [], 1)


@pytest.mark.usefixtures("narrow")
def test_nothing_is_compared_twice(copy: Copy) -> None:
    copy.shard.index("0-3")
    copy.shard.delete("0-4")
    before = copy.found("before")
    copy.catch_up()
    copy.keep_ends(INDEX)

    after = copy.found()

    assert (before.done, before.slices_of, len(before.undecided)) == (6, 6, 1)
    assert (after.done, after.slices_of) == (8, 8)
    # Those of the slice that was undecided, and the one that was caught up.
    assert (after.documents, named(after)) == (5 + 1, [])


def test_what_was_equal_before_and_is_not_any_more_is_found(copy: Copy) -> None:
    copy.found("before")
    copy.copy.index("0-3", {"other": 1})
    copy.keep_ends(INDEX)

    assert named(copy.found()) == ["document 0-3 differs in the field written"]


@pytest.mark.usefixtures("narrow")
def test_what_was_restored_anew_is_compared_anew(copy: Copy) -> None:
    copy.found("before")
    copy.copy.history = "history-of-another-restore"
    plant(copy, "0-3", source={"other": 1})
    copy.keep_ends()

    found = copy.found()

    assert (found.documents, named(found)) == (40, ["document 0-3 differs in the field written"])


def test_a_difference_is_found_before_the_write_stop(copy: Copy) -> None:
    del copy.copy.documents["0-3"]
    plant(copy, "0-4", source={"other": 1})

    done = copy.run("before")

    with pytest.raises(
        VerificationFailed,
        match=r"1 of 1 indices differ .*orders: document 0-3 is missing, document 0-4 differs in "
        r"the field written.*field masking.*the source is in service",
    ):
        done.raise_differences()


def test_a_document_deleted_while_it_is_compared_is_no_difference(copy: Copy) -> None:
    del copy.copy.documents["0-3"]
    copy.destination.before = [("POST /orders/_mget", lambda: copy.shard.delete("0-3"))]

    assert named(copy.found("before")) == []


@pytest.mark.usefixtures("narrow")
def test_a_call_that_runs_out_of_time_is_continued(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snapferry.verification.documents._SLICES_BETWEEN_LOOKS", 1)
    plant(copy, "0-3", source={"other": 1})
    copy.keep_ends()

    calls = [copy.run(hold_seconds=0) for _ in range(6)]

    assert [call.has_ended for call in calls] == [False] * 5 + [True]
    [index] = calls[-1].indices
    assert (index.documents, named(index)) == (40, ["document 0-3 differs in the field written"])


def test_some_of_each_index_are_compared_and_always_the_same(
    copy: Copy, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "_LARGEST_WIDTH", 2)
    copy.job = make_job()
    copy.keep_ends()

    first = copy.found()

    assert (first.documents, first.done, first.slices_of) == (10, 5, 20)
    copy.storage.s3.objects.pop(f"migrations/m-1/{DOMAIN}/documents-after.json")
    assert copy.found() == first


def test_the_slices_of_a_sample_are_chosen_by_the_index_alone() -> None:
    """What was compared before the write stop is known only by choosing it once more."""
    parts = [slices.Slice(0, "both", number, number + 1) for number in range(40)]

    assert slices.sample(parts, "a") == slices.sample(parts, "a")
    assert slices.sample(parts, "a") != slices.sample(parts, "b")


@pytest.mark.usefixtures("narrow")
def test_some_of_what_was_caught_up_are_compared_after_the_write_stop(
    copy: Copy, make_job: MakeJob
) -> None:
    copy.job = make_job()
    before = copy.found("before")
    copy.shard.index("0-new")
    copy.catch_up()
    plant(copy, "0-new", source={"other": 1})
    copy.keep_ends(INDEX)

    after = copy.found()

    assert named(after) == ["document 0-new differs in the field written"]
    # One was left out before, and two are new.
    assert (before.done, before.slices_of) == (5, 6)
    assert (after.done, after.slices_of) == (8, 8)


def test_another_text_of_the_same_document_is_found(copy: Copy) -> None:
    for side in (copy.shard, copy.copy):
        first, second = ("a", "b") if side is copy.shard else ("b", "a")
        side.index("0-text", {first: 1, second: 1})
    copy.keep_ends()

    assert named(copy.found()) == ["document 0-text differs in its text"]


def test_an_index_that_is_all_different_is_left_soon(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "_LARGEST_WIDTH", 1)
    for key in list(copy.copy.documents):
        plant(copy, key, source={"other": 1})
    copy.keep_ends()

    found = copy.found()

    assert len(found.differences) == 20
    assert found.done < found.slices


def test_documents_that_are_not_stored_are_compared_by_their_ids(copy: Copy) -> None:
    for side in (copy.source, copy.destination):
        side.tails[INDEX].mapping = {"_source": {"enabled": False}}
    plant(copy, "0-3", source={"other": 1})
    copy.copy.documents["0-5"] = copy.copy.documents.pop("0-4")
    copy.keep_ends()

    assert {each.id for each in copy.found().differences} == {"0-4"}


def test_a_write_after_the_last_snapshot_is_found(copy: Copy) -> None:
    copy.shard.index("0-late")

    with pytest.raises(SourceChanged, match=r"orders\[0\]: written to at the source after"):
        copy.keep_ends()


def test_a_source_whose_shards_cannot_be_seen_is_not_compared(copy: Copy) -> None:
    copy.source.faults = [Fault("GET /_cluster/state/.*", (403, {"error": {"type": "x"}}))]
    copy.keep_ends()
    copy.source.faults = []

    done = copy.run()

    assert (done.has_ended, done.documents, done.indices) == (True, 0, [])
    reason = "nobody may look at its shards at the source, or that is too old"
    assert copy.outcome()["not_compared"] == {INDEX: reason}


def test_an_index_that_clients_delete_is_not_compared(copy: Copy) -> None:
    copy.keep_ends(INDEX)
    listed = indices.list_all(copy.clients[0])
    del copy.destination.tails[INDEX]

    done = verification.run(
        *copy.clients, copy.storage.records, copy.job, "after", [listed[INDEX]], 60, copy.sleep
    )

    assert (done.has_ended, done.indices) == (True, [])
    assert copy.outcome()["not_compared"] == {INDEX: "the destination has it no more"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"index.max_result_window": "4999"}, "its index.max_result_window is below 5000"),
        (
            {"index.search.default_pipeline": "mine"},
            "its default search pipeline may change what a search shows",
        ),
    ],
    ids=["window", "pipeline"],
)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_an_index_that_searches_can_not_read_is_not_compared(
    copy: Copy, settings: dict[str, str], reason: str, side: str
) -> None:
    copy.keep_ends()
    cluster = copy.source if side == "source" else copy.destination
    cluster.version = {"distribution": "opensearch", "number": "2.9.0"}
    cluster.tails[INDEX].settings |= settings

    done = copy.run()

    assert (done.has_ended, done.indices) == (True, [])
    assert copy.outcome()["not_compared"] == {INDEX: f"at the {side} {reason}"}


def test_an_index_whose_documents_are_not_shown_as_they_are_is_not_compared(copy: Copy) -> None:
    Ways(1, [Slice([], {INDEX: ALTERED})]).keep(copy.storage.records, DOMAIN)
    copy.source.tails[INDEX].masks = {"written"}
    copy.keep_ends()

    done = copy.run()

    assert (done.has_ended, done.indices) == (True, [])
    assert copy.outcome()["not_compared"] == {INDEX: ALTERED}


def test_an_answer_without_every_shard_proves_nothing(copy: Copy) -> None:
    copy.keep_ends()
    partial = {"timed_out": False, "_shards": {"total": 1, "successful": 0, "failed": 1}}
    copy.destination.faults = [Fault("POST /orders/_search", (200, partial))]

    with pytest.raises(Unavailable, match="not every shard answered"):
        copy.run()


@pytest.mark.parametrize(
    ("operations", "store_bytes", "width"),
    [
        (10_000_000, 10_000_000_000, 10_000),
        (1_000, 1_000_000_000, 67),
        (1, 1_000_000_000_000, 1),
        (5, 0, 10_000),
    ],
)
def test_slices_of_large_documents_are_narrow(
    operations: int, store_bytes: int, width: int
) -> None:
    assert slices.width(operations, store_bytes) == width


def test_the_outcome_says_which_documents_were_compared_when(copy: Copy) -> None:
    copy.found("before")
    copy.keep_ends(INDEX)
    copy.copy.index("0-3")
    copy.copy.delete("0-4")
    copy.found()

    at_first, at_last = map(copy.outcome, verification.MOMENTS)

    [before], [after] = at_first["indices"], at_last["indices"]
    assert at_first["began_at"] <= at_first["ended_at"] <= at_last["began_at"]
    assert before == {
        "index": INDEX,
        "documents": 40,
        "slices": 2,
        "slices_of": 2,
        "rewritten": 0,
        "deleted": 0,
        "deleted_or_lost": 0,
        "deleted_or_lost_examples": [],
        "differences": [],
    }
    assert (after["rewritten"], after["deleted"]) == (1, 1)
