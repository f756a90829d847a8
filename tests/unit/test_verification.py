from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from snapferry import indices, verification
from snapferry.errors import Unavailable, VerificationFailed
from snapferry.ownership import Ownership
from snapferry.verification import Verdict
from tests.unit.conftest import MakeJob, Side, Storage
from tests.unit.fakes import FakeIndex, Fault

ENGINE = {"version": {"distribution": "opensearch", "number": "3.6.0"}}
"""What a source says of itself that knows mappings without types."""

type Verdicts = dict[str, Verdict]
type Verify = Callable[[], Verdicts]


@pytest.fixture
def copied(source: Side, destination: Side) -> None:
    """Two indices, the same on both sides."""
    for side in (source, destination):
        side.cluster.indices = {
            "logs": FakeIndex(shards=2, documents=30, created_at_milliseconds=1),
            "empty": FakeIndex(documents=0, created_at_milliseconds=2),
        }


@pytest.fixture
def ownership(storage: Storage, make_job: MakeJob) -> Ownership:
    return Ownership(storage.records, make_job())


@pytest.fixture
def verified(source: Side, destination: Side, ownership: Ownership) -> Verify:
    def verify() -> Verdicts:
        verdicts = verification.verify(
            source.client, destination.client, ownership, source.listed()
        )
        return {verdict.index: verdict for verdict in verdicts}

    return verify


@pytest.mark.usefixtures("copied")
def test_an_equal_copy_has_no_fault(destination: Side, verified: Verify) -> None:
    destination.cluster.indices["theirs"] = FakeIndex(lost={0: {}})

    verdicts = verified()

    assert verdicts["logs"] == Verdict("logs", 30, 30, 2, "green", [])
    assert verdicts["empty"] == Verdict("empty", 0, 0, 1, "green", [])
    verification.raise_faults(list(verdicts.values()))


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("documents", [0, 29, 31])
def test_too_few_and_too_many_documents_are_a_fault(
    destination: Side, verified: Verify, documents: int
) -> None:
    destination.index("logs").documents = documents

    verdicts = verified()

    assert verdicts["logs"].faults == [f"{documents} documents instead of 30"]
    assert verdicts["empty"].faults == []


@pytest.mark.usefixtures("copied")
def test_a_missing_index_is_a_fault(destination: Side, verified: Verify) -> None:
    del destination.cluster.indices["logs"]

    assert verified()["logs"] == Verdict(
        "logs", 30, None, 0, "missing", ["the index is missing at the destination"]
    )


@pytest.mark.usefixtures("copied")
def test_an_empty_index_is_told_from_a_missing_one(destination: Side, verified: Verify) -> None:
    del destination.cluster.indices["empty"]

    assert verified()["empty"].faults


@pytest.mark.usefixtures("copied")
def test_another_number_of_shards_is_a_fault(destination: Side, verified: Verify) -> None:
    destination.index("logs").shards = 5

    assert verified()["logs"].faults == ["5 shards instead of 2"]


@pytest.mark.usefixtures("copied")
def test_a_replica_without_a_place_is_a_fault_with_a_remedy(
    destination: Side, verified: Verify
) -> None:
    destination.index("logs").building = 1

    [fault] = verified()["logs"].faults

    assert fault.startswith("health is yellow: 1 shards are unassigned")
    assert "domains[].replicas" in fault


@pytest.mark.usefixtures("copied")
def test_replicas_that_are_being_built_are_waited_for(destination: Side, verified: Verify) -> None:
    destination.index("logs").building = 1
    destination.index("logs").builds = True

    assert verified()["logs"].faults == []


def test_replicas_of_many_indices_are_waited_for_no_longer(
    source: Side, destination: Side, verified: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=lambda: destination.cluster.now_seconds)
    monkeypatch.setattr(verification.copy, "time", clock)
    for side in (source, destination):
        side.cluster.indices = {f"{number:03}-{'x' * 100}": FakeIndex() for number in range(100)}
    for index in destination.cluster.indices.values():
        index.building = 1

    assert all(verdict.health == "yellow" for verdict in verified().values())
    assert len(destination.cluster.sent("GET /_cluster/health/.*")) > 1
    assert destination.cluster.now_seconds == pytest.approx(90)


@pytest.mark.usefixtures("copied")
def test_a_missing_primary_is_red(destination: Side, verified: Verify) -> None:
    destination.cluster.faults = [
        Fault("GET /_cluster/health", (200, {"indices": {"logs": {"status": "red"}}}))
    ]

    verdicts = verified()

    assert verdicts["logs"].health == "red"
    assert "health is red: some shards are unassigned" in verdicts["logs"].faults[0]
    assert verdicts["empty"].health == "missing"


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("at_source", [True, False], ids=["source", "destination"])
def test_an_answer_without_every_shard_is_no_count(
    source: Side, destination: Side, verified: Verify, at_source: bool
) -> None:
    side = source if at_source else destination
    side.index("logs").lost = {1: {}}

    with pytest.raises(Unavailable, match=r"logs.*not every shard answered"):
        verified()


@pytest.mark.parametrize(
    "flaw", [{"timed_out": True}, {"_shards": {"total": 2, "successful": 1, "failed": 1}}], ids=str
)
def test_a_search_that_ended_early_is_no_count(source: Side, flaw: dict[str, Any]) -> None:
    source.cluster.indices = {"logs": FakeIndex(shards=2)}
    answer = {
        "timed_out": False,
        "_shards": {"total": 2, "successful": 2, "failed": 0},
        "aggregations": {"indices": {"buckets": []}},
    }
    source.cluster.faults = [Fault("POST .*/_search", (200, answer | flaw))]

    with pytest.raises(Unavailable, match="not every shard answered"):
        indices.count(source.client, ["logs"])


def test_documents_are_counted_after_a_refresh_and_never_in_part(source: Side) -> None:
    source.cluster.indices = {"logs": FakeIndex(documents=3), "orders": FakeIndex(documents=4)}

    assert indices.count(source.client, ["logs", "orders"]) == {"logs": 3, "orders": 4}
    _, refresh, search = source.cluster.requests
    assert refresh.path == "/logs,orders/_refresh"
    assert search.parameters["allow_partial_search_results"] == "false"


@pytest.mark.parametrize(("version", "pipeline"), [("3.6.0", "_none"), ("2.9.0", None)])
def test_no_search_pipeline_counts_where_it_can_be_left_out(
    source: Side, version: str, pipeline: str | None
) -> None:
    source.cluster.indices = {"logs": FakeIndex(documents=3)}
    engine = {"version": {"distribution": "opensearch", "number": version}}
    source.cluster.faults = [Fault("GET /", (200, engine))]

    assert indices.count(source.client, ["logs"]) == {"logs": 3}

    [search] = source.cluster.sent("POST /logs/_search")
    assert search.body.get("search_pipeline") == pipeline


def test_ten_thousand_indices_are_counted_in_few_requests(source: Side) -> None:
    names = [f"logs-{number:05}" for number in range(10_000)]
    source.cluster.indices = {
        name: FakeIndex(documents=number) for number, name in enumerate(names)
    }

    counts = indices.count(source.client, names)

    assert counts == {name: number for number, name in enumerate(names)}
    assert len(source.cluster.requests) < 300


def test_faults_are_raised_by_index_with_a_remedy() -> None:
    verdicts = [
        Verdict("good", 1, 1, 1, "green", []),
        *(
            Verdict(f"bad-{number:02}", 2, 1, 1, "green", ["1 documents instead of 2"])
            for number in range(12)
        ),
    ]

    with pytest.raises(VerificationFailed) as caught:
        verification.raise_faults(verdicts)

    message = str(caught.value)
    assert message.startswith("12 of 13 indices differ from the source: bad-00: 1 documents")
    assert "bad-09" in message
    assert "bad-10" not in message
    assert "What to do: make sure that nothing writes" in message


def test_a_verdict_is_plain_json() -> None:
    verdict = Verdict("logs", 2, None, 0, "missing", ["the index is missing at the destination"])

    assert Verdict(**verdict.record()) == verdict


@pytest.mark.usefixtures("copied")
def test_what_is_made_otherwise_is_named(
    source: Side, destination: Side, ownership: Ownership, verified: Verify
) -> None:
    fields = {"id": {"type": "keyword"}, "text": {"type": "text", "analyzer": "words"}}
    source.index("logs").mapping = {"properties": fields}
    source.index("logs").settings = {
        "index.analysis.analyzer.words.tokenizer": "standard",
        "index.analysis.analyzer.words.type": "custom",
        "index.analysis.filter.stop.stopwords": "a" * 200,
        "index.routing.allocation.include._name": "node-1",
    }
    destination.index("logs").mapping = {"properties": {"id": {"type": "long"}, "new": {}}}
    destination.index("logs").settings = {
        "index.analysis.analyzer.words.tokenizer": "whitespace",
        "index.analysis.filter.stop.stopwords": "b" * 200,
        "index.routing.allocation.include._name": "node-2",
    }

    # It knows mappings by their types only.
    assert verified()["logs"].faults == []
    listed = source.listed()
    source.cluster.faults = [Fault("GET /", (200, ENGINE), times=3)]

    logs, empty = verification.verify(source.client, destination.client, ownership, listed)

    assert logs.faults == [
        "mapping properties.id.type is long instead of keyword",
        "mapping properties.new is one too many",
        "mapping properties.text is missing",
        "setting index.analysis.analyzer.words.tokenizer is whitespace instead of standard",
        "setting index.analysis.analyzer.words.type is missing",
        f"setting index.analysis.filter.stop.stopwords is {'b' * 80} instead of {'a' * 80}",
    ]
    assert empty.faults == []


# One of each group.
SETTINGS_THAT_MATTER = (
    "index.analysis.analyzer.words.tokenizer",
    "index.analyze.max_token_count",
    "index.codec",
    "index.default_pipeline",
    "index.final_pipeline",
    "index.knn",
    "index.mapper.dynamic",
    "index.mapping.total_fields.limit",
    "index.max_result_window",
    "index.number_of_shards",
    "index.query.default_field",
    "index.refresh_interval",
    "index.routing_partition_size",
    "index.search.default_pipeline",
    "index.similarity.default.type",
    "index.sort.field",
)


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("setting", SETTINGS_THAT_MATTER)
def test_each_setting_that_matters_is_compared(
    source: Side, destination: Side, ownership: Ownership, setting: str
) -> None:
    destination.index("logs").settings = source.index("logs").settings | {setting: "another"}
    listed = source.listed()
    source.cluster.faults = [Fault("GET /", (200, ENGINE), times=2)]

    logs, _ = verification.verify(source.client, destination.client, ownership, listed)

    assert logs.faults == [f"setting {setting} is one too many"]


def test_no_group_of_settings_is_compared_untested() -> None:
    tested = {
        group
        for group in indices._THAT_MATTER
        if any(setting.startswith(group) for setting in SETTINGS_THAT_MATTER)
    }
    assert tested == set(indices._THAT_MATTER)


@pytest.mark.usefixtures("copied")
def test_replicas_are_as_wanted(destination: Side, verified: Verify) -> None:
    destination.index("logs").replicas = 0

    assert verified()["logs"].faults == ["0 replicas instead of 1"]


@pytest.mark.usefixtures("copied")
def test_the_replicas_of_the_input_are_wanted(
    source: Side, destination: Side, storage: Storage, make_job: MakeJob
) -> None:
    ownership = Ownership(storage.records, make_job(domain__replicas=2))
    destination.index("logs").replicas = 2

    logs, _ = verification.verify(source.client, destination.client, ownership, source.listed())

    assert logs.faults == []


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize(
    ("setting", "faults"), [("0-1", []), ("0-all", []), ("false", ["0 replicas instead of 1"])]
)
def test_replicas_that_follow_the_number_of_nodes_are_as_the_destination_wants_them(
    destination: Side, verified: Verify, setting: str, faults: list[str]
) -> None:
    destination.index("logs").replicas = 0
    destination.index("logs").settings = {"index.auto_expand_replicas": setting}

    assert verified()["logs"].faults == faults


@pytest.mark.usefixtures("copied")
def test_an_alias_that_the_destination_will_not_take_is_a_fault(
    source: Side, destination: Side, verified: Verify
) -> None:
    """It would refuse it once clients may have moved."""
    writes = {"is_write_index": True}
    source.index("logs").aliases = {"entries": writes, "taken": {}, "free": writes}
    destination.cluster.indices |= {"theirs": FakeIndex(aliases={"entries": writes})}
    destination.cluster.indices |= {"taken": FakeIndex()}

    verdicts = verified()

    assert verdicts["empty"].faults == []
    assert verdicts["logs"].faults == [
        "theirs at the destination takes the writes of its alias entries: take is_write_index off "
        "there",
        "the destination has an index named as its alias taken: remove that index, or the alias",
    ]


@pytest.mark.usefixtures("copied")
def test_what_an_earlier_round_left_behind_is_named(
    source: Side, destination: Side, ownership: Ownership, verified: Verify
) -> None:
    ownership.confirm({index.name: index for index in destination.listed()})
    # Deleted at the source, or deleted and made anew.
    del source.cluster.indices["empty"]
    source.index("logs").created_at_milliseconds = 3
    destination.cluster.indices["theirs"] = FakeIndex()

    verdicts = verified()

    assert verdicts.keys() == {"logs", "empty"}
    assert verdicts["logs"].faults == ["it is the copy of an index that the source has no more"]
    assert verdicts["empty"].faults == ["the source has it no more: an earlier round restored it"]
