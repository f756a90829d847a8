"""The tail between two fake clusters: what happens there that real ones can't be made to do.

The rules are numbered; each keeps documents from being lost, or coming back, in silence.
"""

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from opensearchpy import OpenSearch

from snapferry import catchup
from snapferry.catchup import IndexRound, deletes, marks
from snapferry.errors import (
    Conflict,
    SnapferryError,
    SourceChanged,
    Unavailable,
    VerificationFailed,
)
from tests.unit.conftest import Storage
from tests.unit.fake_shards import FakeShard, FakeTailCluster, FakeTailIndex, content, shards
from tests.unit.fakes import Fault, Request

INDEX = "orders"
DOMAIN = "logs"


@dataclass
class Tail:
    """An index `orders` on both sides, restored while nothing was written."""

    source: FakeTailCluster
    destination: FakeTailCluster
    storage: Storage

    @property
    def clients(self) -> tuple[OpenSearch, OpenSearch]:
        return self.source.client("source"), self.destination.client("destination")

    def keep_base(self, round_number: int = 1) -> None:
        catchup.keep_base(
            self.clients[0], self.storage.records, DOMAIN, [INDEX], round_number, 0, self.sleep
        )

    def restore(self) -> None:
        self.destination.tails[INDEX] = self.source.tails[INDEX].restored("uuid-restored")

    def begin(self, round_number: int = 1) -> dict[str, str]:
        return catchup.begin(*self.clients, self.storage.records, DOMAIN, [INDEX], round_number)

    def round(
        self, hold_seconds: float = 60, is_stopped: Callable[[], bool] = lambda: False
    ) -> IndexRound:
        done = catchup.run_round(
            *self.clients,
            self.storage.records,
            DOMAIN,
            [INDEX],
            hold_seconds,
            self.sleep,
            is_stopped,
        )
        [index] = done.indices
        return index

    def last_round(self, hold_seconds: float = 60) -> IndexRound:
        done = catchup.run_last_round(
            *self.clients, self.storage.records, DOMAIN, [INDEX], hold_seconds, self.sleep
        )
        [index] = done.indices
        return index

    def sleep(self, seconds: float) -> None:
        self.source.pass_time(seconds)
        self.destination.pass_time(seconds)

    @property
    def shard(self) -> FakeShard:
        """The first shard of the source."""
        return self.source.tails[INDEX].shards[0]

    @property
    def copy(self) -> FakeShard:
        """The first shard of the destination."""
        return self.destination.tails[INDEX].shards[0]

    @property
    def is_equal(self) -> bool:
        return content(self.source, INDEX) == content(self.destination, INDEX)


def begun(storage: Storage, of: list[FakeShard]) -> Tail:
    """The tail of an index of some shards, with its marks."""
    made = Tail(FakeTailCluster({INDEX: FakeTailIndex(of)}), FakeTailCluster({}), storage)
    made.keep_base()
    made.restore()
    assert made.begin() == {}
    return made


@pytest.fixture
def tail(storage: Storage) -> Tail:
    return begun(storage, shards(2, documents=20))


def test_writes_and_deletes_arrive(tail: Tail) -> None:
    tail.shard.index("0-new", routing="a")
    tail.shard.index("0-3")
    tail.shard.delete("0-4")
    done = tail.round()
    assert (done.documents, done.deletes, done.lag, done.sealed) == (2, 1, 0, True)
    assert tail.is_equal
    # What was copied is deleted, too.
    tail.shard.delete("0-new")
    assert tail.last_round().deletes == 1
    assert tail.is_equal


def test_what_is_written_during_a_round_is_its_lag(tail: Tail) -> None:
    tail.shard.index("0-new")
    tail.destination.before = [("POST /orders/_bulk", lambda: tail.shard.index("0-newer"))]
    assert (tail.round().lag, tail.round().lag) == (1, 0)
    tail.shard.index("0-new")
    tail.shard.index("0-newer")
    tail.shard.delete("0-3")
    assert tail.round(hold_seconds=0).lag == 1


def test_a_round_without_writes_changes_nothing(tail: Tail) -> None:
    asked_before = len(tail.destination.requests)
    assert tail.round() == IndexRound(INDEX, sealed=True)
    assert {request.method for request in tail.destination.requests[asked_before:]} == {"GET"}


def test_a_round_that_is_stopped_leaves_the_rest_to_the_next_one(tail: Tail) -> None:
    for number in range(200):
        tail.shard.index(f"0-new-{number}")
    tail.shard.delete("0-3")
    bulks_before = len(tail.destination.sent("POST /orders/_bulk"))
    index = tail.round(
        is_stopped=lambda: len(tail.destination.sent("POST /orders/_bulk")) > bulks_before
    )
    # One page, and no search for deletes.
    assert 0 < index.documents < 200
    assert (index.sealed, index.deletes) == (False, 0)
    assert not tail.source.sent("POST /orders/_msearch")

    rest = tail.last_round()
    assert (index.documents + rest.documents, rest.deletes, rest.sealed) == (200, 1, True)
    assert tail.is_equal


def test_a_search_for_deletes_is_stopped_after_the_request_that_runs(tail: Tail) -> None:
    """In a large shard each takes long, and clients wait."""
    tail.shard.delete("0-3")
    search = "POST /orders/_msearch"
    done = tail.round(is_stopped=lambda: bool(tail.source.sent(search)))
    assert not done.sealed
    assert len(tail.source.sent(search)) == 1
    # What differs isn't listed any more.
    assert all(request.body["_source"] for request in tail.source.sent("POST /orders/_search"))
    assert tail.last_round().deletes == 1
    assert tail.is_equal


def test_deletes_that_were_found_when_a_round_is_stopped_are_looked_for_again(tail: Tail) -> None:
    tail.shard.delete("0-3")
    done = tail.round(is_stopped=lambda: bool(tail.source.sent("POST /orders/_mget")))
    assert not done.sealed
    assert not tail.is_equal
    assert tail.last_round().deletes == 1
    assert tail.is_equal


@pytest.mark.parametrize("request_number", range(1, 16))
@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("run", [Tail.round, Tail.last_round])
def test_an_index_that_goes_during_a_round_is_found_gone_by_the_next_one(
    tail: Tail, run: Callable[[Tail], IndexRound], close: bool, side: str, request_number: int
) -> None:
    tail.shard.index("0-new")
    tail.shard.delete("0-4")
    cluster: FakeTailCluster = getattr(tail, side)
    requests = itertools.count(1)

    def go() -> None:
        if next(requests) < request_number:
            cluster.before = [(".*", go)]
        elif close:
            cluster.tails[INDEX].is_open = False
        else:
            del cluster.tails[INDEX]

    cluster.before = [(".*", go)]
    with contextlib.suppress(Unavailable):
        run(tail)

    # Fewer requests than that may have been enough.
    cluster.before = []
    index = cluster.tails.get(INDEX)
    assert (tail.round().unfit == "") == (index is not None and index.is_open)


def test_an_index_whose_catching_up_has_not_begun_is_named(tail: Tail) -> None:
    names = ["aaa", INDEX, "zzz"]
    done = catchup.run_round(*tail.clients, tail.storage.records, DOMAIN, names, 60, tail.sleep)
    assert [bool(index.unfit) for index in done.indices] == [True, False, True]
    assert "hasn't begun" in done.indices[0].unfit


# Rule 1: the base


def test_rule_1_the_base_is_kept_once(tail: Tail) -> None:
    tail.shard.index("0-after-the-snapshot")
    tail.keep_base()
    tail.begin()
    assert tail.round().documents == 1
    assert tail.is_equal


def test_rule_1_a_gap_in_the_snapshot_is_filled(tail: Tail) -> None:
    """The snapshot holds an operation whose predecessor was still under way."""
    tail.shard.index("0-late")
    tail.shard.index("0-early")
    tail.restore()
    del tail.copy.documents["0-late"]
    tail.begin()
    tail.round()
    assert tail.is_equal


def test_rule_1_an_unknown_checkpoint_is_waited_for(tail: Tail) -> None:
    tail.shard.unknown_checkpoint = True
    with pytest.raises(Unavailable, match="isn't known yet"):
        tail.keep_base(2)
    with pytest.raises(Unavailable, match="isn't known yet"):
        tail.round()


def test_rule_1_without_a_base_an_index_does_not_qualify(tail: Tail) -> None:
    assert "nothing was noted" in tail.begin(2)[INDEX]


def test_rule_1_an_older_snapshot_is_refused(tail: Tail) -> None:
    tail.restore()
    tail.shard.index("0-new")
    tail.keep_base(2)
    assert "wasn't restored from a snapshot taken afterwards" in tail.begin(2)[INDEX]


# Rule 2: failovers


def test_rule_2_what_is_not_durable_is_neither_copied_nor_deleted(tail: Tail) -> None:
    before, checkpoint = dict(tail.shard.documents), tail.shard.max_seq_no
    tail.shard.index("0-new")
    tail.shard.index("0-3")
    tail.shard.delete("0-4")
    tail.shard.lagging = 3
    done = tail.round(hold_seconds=0)
    assert (done.documents, done.deletes, done.sealed) == (0, 0, False)
    tail.shard.fail_over(before, checkpoint)
    tail.shard.index("0-5")
    assert tail.last_round().sealed
    assert tail.is_equal


def test_rule_2_after_a_failover_what_was_not_sealed_is_copied_again(tail: Tail) -> None:
    """An update that was taken back hides, in the searches of a round, what it had replaced."""
    tail.shard.index("0-3", {"durable": True})
    durable, checkpoint = dict(tail.shard.documents), tail.shard.max_seq_no
    tail.shard.index("0-3", {"durable": False})
    tail.shard.lagging = 1
    assert not tail.round(hold_seconds=0).sealed
    tail.shard.fail_over(durable, checkpoint)
    assert tail.last_round().sealed
    assert tail.copy.documents["0-3"].source == {"durable": True}


def test_rule_2_after_a_failover_what_is_missing_is_found_beside_a_delete(storage: Storage) -> None:
    """As many are missing as are too many, among more documents than are told apart at once."""
    tail = begun(storage, shards(1, documents=20_000))
    durable, checkpoint = dict(tail.shard.documents), tail.shard.max_seq_no
    del tail.copy.documents["0-10007"]
    del durable["0-10004"]
    tail.shard.fail_over(durable, checkpoint)
    assert tail.last_round().sealed
    assert tail.is_equal


@pytest.mark.parametrize("version", ["6.8.0", "7.1.1"])
def test_rule_2_old_engines_start_again_after_a_failover(tail: Tail, version: str) -> None:
    tail.source.version = {"number": version}
    tail.shard.fail_over(tail.shard.documents, tail.shard.max_seq_no)
    assert "failed over" in tail.round().unfit


# Rule 3: histories


def change_uuid(tail: Tail) -> None:
    tail.source.tails[INDEX].uuid = "uuid-2"


def change_history(tail: Tail) -> None:
    tail.shard.history = "history-2"


def split(tail: Tail) -> None:
    tail.source.tails[INDEX].shards.append(FakeShard(2))


def delete_index(tail: Tail) -> None:
    del tail.source.tails[INDEX]


def replace_copy(tail: Tail) -> None:
    tail.destination.tails[INDEX].uuid = "uuid-of-somebody"


@pytest.mark.parametrize("change", [change_uuid, change_history, split, delete_index, replace_copy])
def test_rule_3_another_index_starts_again(tail: Tail, change: Callable[[Tail], None]) -> None:
    change(tail)
    done = tail.round()
    assert done.unfit
    assert not done.sealed


def test_rule_3_a_destination_that_lost_writes_gets_them_again(tail: Tail) -> None:
    before, max_seq_no = dict(tail.copy.documents), tail.copy.max_seq_no
    tail.shard.index("0-new")
    tail.shard.delete("0-4")
    assert tail.round().sealed
    tail.copy.fail_over(before, max_seq_no)
    done = tail.last_round()
    assert (done.documents, done.deletes) == (1, 1)
    assert tail.is_equal


# Rule 4: always the primary


@pytest.mark.parametrize("version", ["7.10.2", "6.8.0"])
def test_rule_4_an_old_engine_is_asked_at_the_node_of_its_primary(tail: Tail, version: str) -> None:
    """The fakes refuse any other preference, of the new engine too."""
    tail.source.version = {"number": version}
    tail.shard.node = "node-7"
    tail.shard.index("0-new")
    tail.shard.delete("0-4")
    tail.round()
    assert tail.is_equal


def test_rule_4_a_primary_that_moves_during_a_round_discards_it(tail: Tail) -> None:
    tail.shard.index("0-new")
    tail.shard.delete("0-4")
    # The last search of the round.
    tail.source.before = [("POST /orders/_mget", lambda: setattr(tail.shard, "allocation", 2))]
    done = tail.round()
    assert (done.sealed, done.deletes) == (False, 0)
    assert tail.round().documents == 1
    assert tail.is_equal


@pytest.mark.parametrize("side", ["source", "destination"])
def test_rule_4_a_refresh_that_misses_a_shard_ends_the_round(tail: Tail, side: str) -> None:
    cluster: FakeTailCluster = getattr(tail, side)
    answer = {"_shards": {"total": 2, "successful": 1, "failed": 1}}
    cluster.faults = [Fault("POST /orders/_refresh", (200, answer))]
    tail.shard.delete("0-4")
    with pytest.raises(Unavailable, match="not every shard"):
        tail.round()
    assert "0-4" in tail.copy.documents


def test_rule_4_a_missing_replica_does_not_matter(tail: Tail) -> None:
    answer = {"_shards": {"total": 4, "successful": 2, "failed": 0}}
    for cluster in (tail.source, tail.destination):
        cluster.faults = [Fault("POST /orders/_refresh", (200, answer), takes_effect=True)]
    tail.shard.delete("0-4")
    assert tail.round().sealed
    assert tail.is_equal


def test_rule_4_a_shard_without_a_primary_ends_the_round(tail: Tail) -> None:
    tail.source.faults = [Fault("GET /orders/_stats/.*", (200, {"indices": {}}))]
    with pytest.raises(Unavailable, match="primary is missing"):
        tail.round()


def test_rule_4_a_primary_that_an_old_engine_has_moved_is_unavailable(tail: Tail) -> None:
    reason = "no data nodes with criteria [node-1] found for shard: [orders][0]"
    error = {"error": {"type": "illegal_argument_exception", "reason": reason}}
    tail.source.faults = [Fault("POST /orders/_search", (400, error))]
    tail.shard.index("0-new")
    with pytest.raises(Unavailable, match="has moved to another node"):
        tail.round()


# Rule 5: an empty answer isn't an empty range

INCOMPLETE = [
    {"timed_out": True},
    {"_shards": {"total": 1, "successful": 0, "failed": 1}},
    {"error": {"type": "search_phase_execution_exception"}},
]
EMPTY = {
    "timed_out": False,
    "_shards": {"total": 1, "successful": 1, "failed": 0},
    "hits": {"total": {"value": 0}, "hits": []},
    "aggregations": {"sum": {"value": 0.0}},
}


@pytest.mark.parametrize("fault", INCOMPLETE)
def test_rule_5_an_incomplete_search_ends_the_round(tail: Tail, fault: dict[str, Any]) -> None:
    tail.shard.index("0-new")
    tail.source.faults = [Fault("POST /orders/_search", (200, EMPTY | fault))]
    with pytest.raises(Unavailable, match="not every shard"):
        tail.round()
    tail.round()
    assert tail.is_equal


@pytest.mark.parametrize("fault", INCOMPLETE)
def test_rule_5_an_incomplete_count_ends_the_round(tail: Tail, fault: dict[str, Any]) -> None:
    tail.shard.delete("0-4")
    tail.source.faults = [
        Fault("POST /orders/_msearch", (200, {"responses": [EMPTY, EMPTY | fault]}))
    ]
    with pytest.raises(Unavailable, match="not every shard"):
        tail.round()
    assert "0-4" in tail.copy.documents


def test_rule_5_what_the_source_still_has_is_not_deleted(tail: Tail) -> None:
    """A search shows less, for whatever reason."""
    tail.shard.delete("0-4")
    tail.source.before = [("POST /orders/_msearch", lambda: tail.shard.visible.pop("0-5"))]
    assert tail.round().deletes == 1
    assert tail.is_equal


def test_rule_5_what_can_not_be_read_is_not_deleted(tail: Tail) -> None:
    tail.shard.delete("0-4")
    answer = {"docs": [{"_id": "0-4", "error": {"type": "exception"}}]}
    tail.source.faults = [Fault("POST /orders/_mget", (200, answer))]
    with pytest.raises(Unavailable, match="0-4 can't be read"):
        tail.round()
    assert "0-4" in tail.copy.documents


def test_rule_5_a_caller_who_is_shown_less_deletes_nothing(tail: Tail) -> None:
    tail.source.tails[INDEX].nested = 2
    tail.source.tails[INDEX].mapping = {"properties": {"parts": {"type": "nested"}}}
    tail.source.tails[INDEX].hides = {"0-5"}
    tail.shard.delete("0-4")
    done = tail.round()
    assert "3 documents more than it shows" in done.unfit
    assert (done.sealed, done.deletes) == (False, 0)
    assert {"0-4", "0-5"} <= tail.copy.documents.keys()


def test_rule_5_what_the_destination_lacks_is_copied(tail: Tail) -> None:
    del tail.copy.documents["0-7"]
    tail.shard.delete("0-4")
    assert tail.round().sealed
    assert tail.is_equal
    # Its number at the destination is out of order now, which must not hide a delete.
    tail.shard.delete("0-3")
    tail.shard.index("0-4")
    assert tail.last_round().deletes == 1
    assert tail.is_equal


def test_rule_5_what_is_lacking_is_copied_only_as_far_as_it_is_durable(tail: Tail) -> None:
    del tail.copy.documents["0-7"]
    tail.shard.delete("0-4")

    def write_again() -> None:
        tail.shard.index("0-7")
        tail.shard.lagging = 1

    # At the second get, which reads what is to be copied.
    get = "POST /orders/_mget"
    tail.source.before = [(get, lambda: tail.source.before.append((get, write_again)))]
    assert not tail.round(hold_seconds=0).sealed
    assert "0-7" not in tail.copy.documents


def test_rule_5_documents_are_counted_to_the_last(tail: Tail) -> None:
    tail.source.counts_up_to = tail.destination.counts_up_to = 5
    for number in range(10):
        tail.shard.index(f"0-new-{number}")
    tail.round()
    tail.shard.delete("0-new-3")
    assert tail.round().deletes == 1
    assert tail.is_equal


def test_rule_5_pipelines_of_searches_are_left_out(tail: Tail) -> None:
    tail.shard.index("0-new")
    tail.shard.delete("0-4")
    tail.round()
    searches = tail.source.sent("POST /orders/_search")
    counts = tail.source.sent("POST /orders/_msearch")
    assert searches
    assert counts
    bodies = [request.body for request in searches]
    bodies += [body for request in counts for body in request.body[1::2]]
    assert {body["search_pipeline"] for body in bodies} == {"_none"}


@pytest.mark.parametrize("difference", ["surplus", "missing"])
def test_rule_5_the_proof_needs_no_search(tail: Tail, difference: str) -> None:
    if difference == "surplus":
        tail.copy.index("0-surplus")
    else:
        del tail.copy.documents["0-7"]
    with pytest.raises(VerificationFailed, match=r"orders\[0\]: (19|21) documents instead of 20"):
        tail.last_round()


def test_rule_5_an_index_that_is_unfit_leaves_the_others_their_proof(tail: Tail) -> None:
    tail.copy.index("0-surplus")
    with pytest.raises(VerificationFailed, match=r"orders\[0\]: 21 documents instead of 20"):
        catchup.run_last_round(
            *tail.clients, tail.storage.records, DOMAIN, ["aaa", INDEX], 60, tail.sleep
        )


def test_rule_5_the_proof_sees_a_source_that_is_still_written_to(tail: Tail) -> None:
    tail.shard.index("0-new")
    tail.destination.before = [("POST /orders/_bulk", lambda: tail.shard.index("0-late"))]
    with pytest.raises(SourceChanged, match="written to at the source"):
        tail.last_round()


# Rule 6: requests


def test_rule_6_the_index_stands_in_the_path(tail: Tail) -> None:
    tail.shard.index("0-new", routing="a")
    tail.shard.delete("0-4")
    tail.round()
    bulks = tail.destination.sent("POST /orders/_bulk")
    counts = tail.source.sent("POST /orders/_msearch")
    gets = tail.source.sent("POST /orders/_mget")
    assert all((bulks, counts, gets))
    assert "index" not in {key for request in counts for head in request.body[::2] for key in head}
    assert "_index" not in {key for request in gets for d in request.body["docs"] for key in d}
    assert "_index" not in {
        key
        for request in bulks
        for line in request.body
        for action in line.values()
        if isinstance(action, dict)
        for key in action
    }


def test_rule_6_requests_stay_small(tail: Tail) -> None:
    for number in range(10):
        tail.shard.index(f"0-large-{number}", {"text": "x" * 1_000_000})
    tail.round()
    assert tail.is_equal
    assert len(tail.destination.sent("POST /orders/_bulk")) >= 3


# Rule 7: versions


def test_rule_7_a_document_made_anew_replaces_a_later_version(tail: Tail) -> None:
    tail.shard.index("0-3", version=1000)
    tail.round()
    tail.shard.delete("0-3")
    tail.shard.index("0-3", {"anew": True}, version=1)
    tail.destination.refreshes_to_forget = 3
    tail.round()
    assert tail.copy.documents["0-3"].version == 1
    assert tail.is_equal


def test_rule_7_a_later_version_that_is_not_durable_is_left_to_the_next_round(tail: Tail) -> None:
    tail.shard.index("0-3", version=1000)
    tail.round()
    tail.shard.delete("0-3")
    tail.shard.index("0-3", {"anew": True}, version=1)

    def write_again() -> None:
        tail.shard.index("0-3", {"anew": "again"})
        tail.shard.lagging = 1

    tail.destination.before = [("POST /orders/_bulk", write_again)]
    tail.round(hold_seconds=0)
    assert tail.copy.documents["0-3"].version == 1000
    tail.shard.lagging = 0
    assert tail.last_round().sealed
    assert tail.is_equal


def test_rule_7_a_destination_that_never_forgets_is_unavailable(tail: Tail) -> None:
    tail.shard.index("0-3", version=1000)
    tail.round()
    tail.shard.delete("0-3")
    tail.shard.index("0-3", version=1)
    tail.destination.refreshes_to_forget = 1000
    with pytest.raises(Unavailable, match="later versions of deleted documents, such as 0-3"):
        tail.round()


# Rule 8: one writer


def test_rule_8_a_call_that_was_given_up_can_not_go_on(tail: Tail) -> None:
    tail.shard.index("0-new")
    tail.destination.before = [("POST /orders/_bulk", lambda: tail.round())]
    with pytest.raises(Conflict, match="another call catches orders up"):
        tail.round()
    assert tail.round().sealed
    assert tail.is_equal


def test_rule_8_a_call_that_was_given_up_deletes_nothing(tail: Tail) -> None:
    """What it has found deleted may be there again."""
    tail.shard.delete("0-4")

    def be_overtaken() -> None:
        tail.shard.index("0-4", {"anew": True})
        tail.round()

    # At the second refresh, after the search for deletes.
    refresh = "POST /orders/_refresh"
    tail.source.before = [(refresh, lambda: tail.source.before.append((refresh, be_overtaken)))]
    with pytest.raises(Conflict, match="another call catches orders up"):
        tail.round()
    assert tail.is_equal


def test_rule_8_writes_of_a_call_that_was_given_up_are_waited_for(tail: Tail) -> None:
    tail.shard.index("0-new")
    tail.round()
    [bulk] = tail.destination.sent("POST /orders/_bulk")
    tail.destination.tasks = [bulk.headers["x-opaque-id"]] * 2
    tail.shard.index("0-new")
    tail.destination.requests.clear()
    tail.round()
    asked = [request.path for request in tail.destination.requests]
    assert asked.count("/_tasks") == 3
    assert asked.index("/orders/_bulk") > max(
        number for number, path in enumerate(asked) if path == "/_tasks"
    )
    assert "orders" not in bulk.headers["x-opaque-id"]


def test_rule_8_writes_that_do_not_end_are_somebody_elses_turn(tail: Tail) -> None:
    tail.shard.index("0-new")
    tail.round()
    [bulk] = tail.destination.sent("POST /orders/_bulk")
    tail.destination.tasks = [bulk.headers["x-opaque-id"]] * 9
    tail.shard.index("0-new")
    with pytest.raises(Unavailable, match="earlier attempt"):
        tail.round(hold_seconds=0)


# Rule 9: mappings


def test_rule_9_the_mapping_comes_before_the_documents(tail: Tail) -> None:
    mapping = {"properties": {"at": {"type": "date"}}}
    tail.source.tails[INDEX].mapping = mapping
    tail.shard.index("0-new")
    tail.round()
    asked = [(request.method, request.path) for request in tail.destination.requests]
    assert asked.index(("PUT", "/orders/_mapping")) < asked.index(("POST", "/orders/_bulk"))
    assert tail.destination.tails[INDEX].mapping == mapping


def test_rule_9_an_index_whose_mapping_is_refused_is_unfit(tail: Tail) -> None:
    tail.source.tails[INDEX].mapping = {"properties": {"at": {"type": "date"}}}
    tail.shard.index("0-new")
    tail.destination.faults = [
        Fault("PUT /orders/_mapping", (400, {"error": {"reason": "mapper conflict"}}))
    ]
    assert "mapper conflict" in tail.round().unfit
    assert not tail.destination.sent("POST /orders/_bulk")


def test_rule_9_a_caller_who_is_not_shown_all_fields_copies_nothing(tail: Tail) -> None:
    mapping = {"properties": {"at": {"properties": {"home": {"type": "text"}}}}}
    tail.destination.tails[INDEX].mapping = mapping
    tail.source.tails[INDEX].mapping = {"properties": {"at": {}}}
    tail.shard.index("0-new")
    assert "doesn't show the field at.home" in tail.round().unfit
    assert not tail.destination.sent("POST /orders/_bulk")
    assert tail.destination.tails[INDEX].mapping == mapping


# Rule 10: bulks


def test_rule_10_documents_pass_no_pipeline_and_keep_their_routing(tail: Tail) -> None:
    tail.shard.index("0-new", routing="a b")
    tail.round()
    [bulk] = tail.destination.sent("POST /orders/_bulk")
    assert bulk.parameters["pipeline"] == "_none"
    assert tail.copy.documents["0-new"].routing == "a b"


def test_rule_10_an_index_of_which_a_document_is_refused_is_unfit(tail: Tail) -> None:
    tail.shard.index("0-new")
    tail.shard.index("0-bad", {"refused": True})
    done = tail.round()
    assert "refuses 0-bad: {'type': 'mapper_parsing_exception'}" in done.unfit
    assert not done.sealed


def test_rule_10_an_index_with_a_document_that_is_too_large_is_unfit(tail: Tail) -> None:
    tail.shard.index("0-large")
    tail.destination.faults = [Fault("POST /orders/_bulk", (413, "Request Too Long"))]
    done = tail.round()
    assert "refuses 1 documents" in done.unfit
    assert "such as 0-large" in done.unfit
    assert not done.sealed


@pytest.mark.parametrize(
    "answer",
    [
        (429, {"error": {"reason": "rejected execution"}}),
        (200, {"items": [{"index": {"status": 429}}, {"index": {"status": 503}}]}),
    ],
)
def test_rule_10_a_busy_destination_is_asked_again(tail: Tail, answer: Any) -> None:
    tail.shard.index("0-new")
    tail.shard.index("0-newer")
    tail.destination.faults = [Fault("POST /orders/_bulk", answer, times=3)]
    assert tail.round().sealed
    assert tail.is_equal
    assert tail.destination.now_seconds > 0.5


def test_rule_10_what_was_refused_for_lack_of_room_is_found_when_it_is_deleted(
    storage: Storage,
) -> None:
    """It comes after others of its page, which were written at the source after it."""
    tail = begun(storage, shards(1, documents=20))
    for number in range(2000):
        tail.shard.index(f"0-new-{number}")
    tail.destination.no_room_for = {"0-new-1000"}
    tail.round()
    tail.shard.delete("0-new-1000")
    assert tail.last_round().deletes == 1
    assert tail.is_equal


def test_rule_10_a_destination_that_stays_busy_is_unavailable(tail: Tail) -> None:
    tail.shard.index("0-new")
    answer = {"items": [{"index": {"status": 429}}]}
    tail.destination.faults = [Fault("POST /orders/_bulk", (200, answer), times=99)]
    with pytest.raises(Unavailable, match="no room"):
        tail.round()


def test_rule_10_a_round_that_is_to_stop_waits_for_no_busy_destination(tail: Tail) -> None:
    """Clients may wait for it."""
    tail.shard.index("0-new")
    answer = {"items": [{"index": {"status": 429}}]}
    tail.destination.faults = [Fault("POST /orders/_bulk", (200, answer), times=99)]
    with pytest.raises(Unavailable, match="to stop while it waited"):
        tail.round(is_stopped=lambda: bool(tail.destination.sent("POST /orders/_bulk")))
    # Nor is it asked again at once.
    assert len(tail.destination.sent("POST /orders/_bulk")) == 1
    assert tail.destination.now_seconds == 0


def test_what_clients_write_while_deletes_are_looked_for_is_not_listed(tail: Tail) -> None:
    tail.shard.index("0-new")
    tail.shard.delete("0-3")
    # After the round has looked at its primaries.
    tail.source.before = [("POST /orders/_refresh", lambda: tail.shard.index("0-newest"))]

    assert tail.round().deletes == 1

    searches = tail.source.sent("POST /orders/_search")
    assert [request.body["_source"] for request in searches].count(False) == 1


def test_rule_10_typed_mappings_are_read_without_their_types(tail: Tail) -> None:
    tail.source.version = {"number": "6.8.0"}
    tail.shard.index("0-new")
    tail.round()
    [request] = tail.source.sent("GET /orders/_mapping")
    assert request.parameters["include_type_name"] == "false"


# Rule 12: the freeze


def freeze(tail: Tail) -> list[Request]:
    tail.source.requests.clear()
    catchup.freeze(tail.storage.journal, tail.clients[0], DOMAIN, [INDEX], 60, tail.sleep)
    return tail.source.requests


@pytest.mark.parametrize(
    "version", [{"number": "7.10.2"}, {"distribution": "opensearch", "number": "1.3.20"}]
)
def test_rule_12_the_block_waits_for_running_writes(tail: Tail, version: dict[str, str]) -> None:
    tail.source.version = version
    paths = [request.path for request in freeze(tail)]
    assert paths == ["/orders/_settings", "/", "/orders/_block/write"]


def test_rule_12_operations_that_lag_behind_are_made_durable(tail: Tail) -> None:
    tail.source.tails[INDEX].settings["index.translog.durability"] = "ASYNC"
    paths = [request.path for request in freeze(tail)]
    assert paths[-2:] == ["/orders/_block/write", "/orders/_flush"]


def test_rule_12_an_old_engine_is_asked_for_running_writes(tail: Tail) -> None:
    tail.source.version = {"number": "6.8.0"}
    tail.source.tasks = ["write"] * 2
    paths = [request.path for request in freeze(tail)]
    assert paths == [
        "/orders/_settings",
        "/",
        "/orders/_settings",
        *["/_tasks"] * 3,
    ]
    assert tail.source.tails[INDEX].settings["index.blocks.write"] == "true"


def write_task(number: int, action: str = "bulk") -> dict[str, Any]:
    return {"node": "a", "id": number, "action": f"indices:data/write/{action}"}


@pytest.mark.parametrize("action", ["reindex", "update/byquery", "delete/byquery"])
def test_rule_12_what_writes_for_hours_is_waited_for_by_its_requests(
    tail: Tail, action: str
) -> None:
    tail.source.version = {"number": "6.8.0"}
    long = write_task(1, action)
    tail.source.faults = [
        Fault("GET /_tasks", (200, {"tasks": tasks})) for tasks in ([long, write_task(2)], [long])
    ]
    assert [request.path for request in freeze(tail)][-3:] == [
        "/orders/_settings",
        *["/_tasks"] * 2,
    ]


def test_rule_12_an_old_engine_may_always_have_writes_to_other_indices(tail: Tail) -> None:
    """Those that began after the block have met it, whatever they write to."""
    tail.source.version = {"number": "6.8.0"}
    tail.source.faults = [
        Fault("GET /_tasks", (200, {"tasks": [write_task(number)]})) for number in range(9)
    ]
    assert [request.path for request in freeze(tail)][-3:] == [
        "/orders/_settings",
        *["/_tasks"] * 2,
    ]


def test_rule_12_a_block_that_a_node_does_not_know_yet_is_set_again(tail: Tail) -> None:
    tail.source.version = {"number": "6.8.0"}
    answer = (200, {"acknowledged": False})
    tail.source.faults = [Fault("PUT /orders/_settings", answer, takes_effect=True)]
    with pytest.raises(Unavailable, match="may still run"):
        freeze(tail)
    assert freeze(tail)


def test_rule_12_a_freeze_is_given_back(tail: Tail) -> None:
    freeze(tail)
    freeze(tail)
    [change] = tail.storage.journal.open_changes()
    assert (change.before, change.ours) == (None, ("true",))
    assert give_back(tail) == ([str(change.place)], [])
    assert tail.source.tails[INDEX].settings["index.blocks.write"] is None
    # What an index has for good stays, and one that is gone needs nothing.
    tail.source.tails[INDEX].settings["index.blocks.write"] = "true"
    freeze(tail)
    del tail.source.tails[INDEX]
    freeze(tail)
    assert tail.storage.journal.open_changes() == []


def test_rule_12_a_block_that_has_not_waited_is_set_again(tail: Tail) -> None:
    tail.source.tails[INDEX].unwaited_blocks = 1
    with pytest.raises(Unavailable, match="may still run"):
        freeze(tail)
    assert [request.path for request in freeze(tail)][-1] == "/orders/_block/write"
    assert not tail.source.tails[INDEX].unfinished_block


def test_rule_12_a_block_that_has_not_waited_is_given_back_whole(tail: Tail) -> None:
    """Its setting goes without it."""
    index = tail.source.tails[INDEX]
    index.unwaited_blocks = 1
    with pytest.raises(Unavailable):
        freeze(tail)
    assert give_back(tail) == (["write block orders (source/logs)"], [])
    assert (index.settings["index.blocks.write"], index.unfinished_block) == (None, False)


def test_rule_12_an_unfinished_block_is_known_until_it_is_off(tail: Tail) -> None:
    index = tail.source.tails[INDEX]
    index.unwaited_blocks = 1
    with pytest.raises(Unavailable):
        freeze(tail)
    # In the middle of giving it back there is trouble once more.
    tail.source.faults = [Fault("GET /_cluster/state/blocks/.*", (503, {}))]
    index.unwaited_blocks = 1
    for _ in range(3):
        give_back(tail)
    assert (index.settings["index.blocks.write"], index.unfinished_block) == (None, False)


def test_rule_12_a_block_is_given_back_where_the_state_is_not_shown(tail: Tail) -> None:
    freeze(tail)
    refusal = (403, {"error": {"type": "security_exception", "reason": "no permissions for"}})
    tail.source.faults = [Fault("GET /_cluster/state/.*", refusal)]
    assert give_back(tail) == (["write block orders (source/logs)"], [])
    assert tail.source.tails[INDEX].settings["index.blocks.write"] is None


def test_rule_12_an_old_engine_whose_nodes_do_not_all_answer_may_have_writes(tail: Tail) -> None:
    tail.source.version = {"number": "6.8.0"}
    tail.source.faults = [Fault("GET /_tasks", (200, {"tasks": [], "node_failures": ["n"]}))]
    assert [request.path for request in freeze(tail)][-2:] == ["/_tasks"] * 2


@pytest.mark.parametrize("status", [403, 429])
def test_rule_12_one_index_that_refuses_does_not_hold_the_others(tail: Tail, status: int) -> None:
    tail.source.tails["full"] = FakeTailIndex([], uuid="uuid-full")
    freezing = tail.storage.journal, tail.clients[0], DOMAIN
    catchup.freeze(*freezing, [INDEX, "full"], 60, tail.sleep)
    refusal = (status, {"error": {"type": "cluster_block_exception", "reason": "read-only"}})
    tail.source.faults = [Fault("PUT /(.*,)?full(,.*)?/_settings", refusal, times=2)]

    with pytest.raises(SnapferryError, match="read-only"):
        catchup.let_go(*freezing)

    blocks = [index.settings["index.blocks.write"] for index in tail.source.tails.values()]
    assert blocks == [None, "true"]


def test_rule_12_an_index_that_needs_a_snapshot_is_let_go(tail: Tail) -> None:
    freeze(tail)
    catchup.let_go(tail.storage.journal, tail.clients[0], DOMAIN, [INDEX])
    assert tail.source.tails[INDEX].settings["index.blocks.write"] is None
    assert give_back(tail) == (["write block orders (source/logs)"], [])


def give_back(tail: Tail) -> tuple[list[str], list[str]]:
    outcome = tail.storage.journal.give_back(
        lambda place: catchup.CHANGEABLES[place.kind](tail.clients[0], place.key)
    )
    return outcome.done, outcome.foreign


def test_rule_12_the_last_round_waits_for_the_checkpoint(tail: Tail) -> None:
    tail.shard.index("0-new")
    tail.shard.lagging = 1
    with pytest.raises(Unavailable, match="orders aren't level"):
        tail.last_round(hold_seconds=0)


# Rule 13: deletes at scale


def test_rule_13_deletes_are_not_looked_for_where_none_happened(tail: Tail) -> None:
    tail.shard.index("0-new")
    tail.round()
    assert not tail.source.sent("POST /orders/_msearch")
    tail.shard.delete("0-new")
    tail.round()
    looked = len(tail.source.sent("POST /orders/_msearch"))
    tail.shard.index("0-newer")
    tail.round()
    assert len(tail.source.sent("POST /orders/_msearch")) == looked > 0


def test_rule_13_a_primary_that_counts_anew_is_not_trusted(tail: Tail) -> None:
    tail.shard.delete("0-3")
    tail.round()
    tail.shard.delete("0-4")
    tail.shard.move()
    tail.shard.delete("0-5")
    assert tail.shard.deletions == 1
    tail.last_round()
    assert tail.is_equal


def test_rule_13_only_ranges_that_shrank_are_listed(tail: Tail) -> None:
    for batch in range(3):
        for number in range(10):
            tail.shard.index(f"0-{batch}-{number}")
        tail.round()
    tail.source.requests.clear()
    tail.shard.delete("0-1-5")
    tail.round()
    # After what was written: nothing; then the middle batch.
    listed = [request.body["query"] for request in tail.source.sent("POST /orders/_search")]
    assert {"range": {"_seq_no": {"gt": 29, "lte": 39}}} in listed
    assert len(listed) == 2
    assert tail.is_equal


def test_rule_13_many_rounds_leave_few_sync_points(
    tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_SYNC_POINTS_PER_SHARD", 4)
    for number in range(20):
        tail.shard.index(f"0-new-{number}")
        tail.round()
    [stored] = marks.load(tail.storage.records, DOMAIN, [INDEX])
    assert len(stored.shards[0].sync_points) <= 6
    for number in range(0, 20, 3):
        tail.shard.delete(f"0-new-{number}")
    assert tail.last_round().deletes == 7
    assert tail.is_equal


def test_rule_13_deletes_are_found_among_many_documents(storage: Storage) -> None:
    tail = begun(storage, shards(1, documents=3000))
    for number in range(0, 3000, 500):
        tail.shard.delete(f"0-{number}")
    assert tail.last_round().deletes == 6
    assert tail.is_equal
    listed = sum(
        upper - lower
        for request in tail.source.sent("POST /orders/_search")
        for lower, upper in ranges(request.body["query"])
        if upper < 3000
    )
    assert 0 < listed < 200


@pytest.mark.parametrize(("most_pieces", "pieces"), [(256, 12), (4, 4)])
def test_rule_13_only_pieces_with_other_counts_are_looked_at_closer(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, most_pieces: int, pieces: int
) -> None:
    """To look at all documents of a large shard would take seconds, while clients wait."""
    monkeypatch.setattr(deletes, "_LOOKED_THROUGH", 2000)
    monkeypatch.setattr(deletes, "_SMALLEST_PIECE", 256)
    monkeypatch.setattr(deletes, "_MOST_PIECES", most_pieces)
    tail = begun(storage, shards(1, documents=3000))
    for number in (0, 1700, 2999):
        tail.shard.delete(f"0-{number}")
    assert tail.last_round().deletes == 3
    assert tail.is_equal

    [counts, *narrower] = tail.source.sent("POST /orders/_msearch")
    counted = [ranges(body["query"])[0] for body in counts.body[1::2]]
    up_to_base = [piece for piece in counted if piece[1] < 3000]
    assert len(up_to_base) == pieces
    assert [piece[1] for piece in up_to_base[:-1]] == [piece[0] for piece in up_to_base[1:]]
    assert (up_to_base[0][0], up_to_base[-1][1]) == (-1, 2999)
    closer = {
        piece
        for request in narrower
        for body in request.body[1::2]
        if "aggs" in body and "numbers" in body["aggs"]
        for piece in ranges(body["query"])
    }
    differing = {
        (lower, upper)
        for lower, upper in up_to_base
        if any(lower < number <= upper for number in (0, 1700, 2999))
    }
    assert len(differing) == 3
    assert closer == differing


def test_rule_13_little_is_read_to_find_what_was_written_and_deleted(storage: Storage) -> None:
    tail = begun(storage, shards(1, documents=20))
    for number in range(2000):
        tail.shard.index(f"0-new-{number}", {"text": "x" * 1000})
    tail.round()
    copying = len(tail.destination.sent("POST /orders/_search"))
    tail.shard.delete("0-new-1000")
    assert tail.last_round().deletes == 1
    assert tail.is_equal

    listed = tail.destination.sent("POST /orders/_search")[copying:]
    between = [ranges(request.body["query"])[0] for request in listed]
    assert 0 < sum(upper - lower for lower, upper in between) <= 300


def test_rule_13_mass_deletes_are_made_piece_by_piece(
    tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They needn't fit into memory, nor all of them into the time of a call."""
    monkeypatch.setattr(deletes, "MOST_AT_ONCE", 3)
    monkeypatch.setattr(deletes, "_RANGES_LISTED_AT_ONCE", 1)
    monkeypatch.setattr(deletes, "_NARROW", 2)
    monkeypatch.setattr(deletes, "_NARROWEST", 2)
    for shard, number in itertools.product((0, 1), range(20)):
        if number % 3:
            tail.source.tails[INDEX].shards[shard].delete(f"{shard}-{number}")
    in_short_time = tail.round(hold_seconds=0)
    assert not in_short_time.sealed
    # Of one shard as many as may be and a few, and those of the other one beside them.
    assert 0 < in_short_time.deletes <= 2 * 5
    rest = tail.last_round()
    assert (in_short_time.deletes + rest.deletes, rest.sealed) == (26, True)
    assert tail.is_equal
    sizes = [len(request.body) for request in tail.destination.sent("POST /orders/_bulk")]
    assert len(sizes) > 2


def test_rule_13_what_clients_rewrite_meanwhile_is_not_looked_for_again_and_again(
    tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks like deletes, until the source is asked for it."""
    monkeypatch.setattr(deletes, "MOST_AT_ONCE", 3)
    monkeypatch.setattr(deletes, "_RANGES_LISTED_AT_ONCE", 1)
    tail.shard.delete("0-19")

    def rewrite() -> None:
        for number in range(10):
            tail.shard.index(f"0-{number}", {"anew": True})

    refresh = "POST /orders/_refresh"
    tail.source.before = [(refresh, rewrite)]
    tail.round()
    assert len(tail.destination.sent(refresh)) < 4
    assert tail.last_round().sealed
    assert tail.is_equal


def ranges(query: dict[str, Any]) -> Sequence[tuple[int, int]]:
    parts = query["bool"]["should"] if "bool" in query else [query]
    return [(part["range"]["_seq_no"]["gt"], part["range"]["_seq_no"]["lte"]) for part in parts]
