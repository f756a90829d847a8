"""Which indices can be caught up."""

from typing import Any

import pytest

from snapferry import catchup
from snapferry.indices import Index
from tests.unit.fake_shards import FakeTailCluster, FakeTailIndex, shards
from tests.unit.fakes import Fault

CREATED_2_14 = str(136357827)
CREATED_3_6 = str(137277827)


def index(name: str = "orders", **changes: Any) -> Index:
    whole: dict[str, Any] = {
        "uuid": "u",
        "open": True,
        "shards": 1,
        "replicas": 0,
        "primary_store_bytes": 1,
        "created_at_milliseconds": 1,
    }
    return Index(name=name, **(whole | changes))


def reason(
    source: FakeTailCluster, asked: Index | None = None, destination: FakeTailCluster | None = None
) -> str:
    """Why an index can't be caught up; empty where it can."""
    asked = asked or index()
    reasons = catchup.qualify(
        source.client("source"), (destination or FakeTailCluster({})).client("destination"), [asked]
    )
    return reasons.get(asked.name, "")


def cluster(**changes: Any) -> FakeTailCluster:
    return FakeTailCluster({"orders": FakeTailIndex(shards(1, documents=3), **changes)})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (index(), ""),
        (index(".kibana_1"), "it is a system index"),
        (index(open=False), "it is closed"),
        (index(shards=501), "it has more than 500 shards"),
    ],
)
def test_what_the_list_of_indices_says(asked: Index, expected: str) -> None:
    assert reason(cluster(), asked) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ""),
        ({"index.version.created": "6000099"}, ""),
        ({"index.version.created": "5061699"}, "created before Elasticsearch 6.0"),
        ({"index.append_only.enabled": "true"}, "append-only"),
        ({"index.append_only.enabled": "false"}, ""),
        ({"index.derived_source.enabled": "true"}, "_source isn't stored"),
        ({"index.knn": "true"}, ""),
        ({"index.knn": "true", "index.version.created": CREATED_3_6}, "vectors are derived"),
        (
            {
                "index.knn": "true",
                "index.version.created": CREATED_3_6,
                "index.knn.derived_source.enabled": "false",
            },
            "",
        ),
        ({"index.knn": "true", "index.knn.derived_source.enabled": "true"}, "vectors are derived"),
        ({"index.search.default_pipeline": "mine"}, ""),
        ({"index.max_result_window": "5000"}, ""),
        ({"index.max_result_window": "4999"}, "max_result_window is below 5000"),
    ],
)
def test_what_the_settings_say(settings: dict[str, str], expected: str) -> None:
    source = cluster(settings={"index.version.created": CREATED_2_14} | settings)
    found = reason(source)
    assert expected in found
    assert bool(expected) == bool(found)


def test_a_search_pipeline_that_can_not_be_left_out() -> None:
    settings = {"index.version.created": CREATED_2_14, "index.search.default_pipeline": "mine"}
    source = cluster(settings=settings)
    source.version = {"distribution": "opensearch", "number": "2.9.0"}
    assert "search pipeline" in reason(source)


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"properties": {"_source": {"type": "keyword"}}}, ""),
        ({"_source": {"enabled": True}}, ""),
        ({"_source": {"enabled": False}}, "its _source is disabled"),
        ({"_source": {"includes": ["a"]}}, "its _source is filtered"),
        ({"_source": {"excludes": ["a"]}}, "its _source is filtered"),
        ({"_source": {"mode": "synthetic"}}, "its _source is synthetic"),
    ],
)
def test_what_the_mapping_says(mapping: dict[str, Any], expected: str) -> None:
    assert reason(cluster(mapping=mapping)) == expected


def test_another_number_of_shards_at_the_destination() -> None:
    destination = FakeTailCluster({"orders": FakeTailIndex(shards(2, documents=0))})
    assert "1 shards at the source and 2 at the destination" in reason(
        cluster(), destination=destination
    )


def test_an_index_of_a_data_stream_of_the_destination() -> None:
    destination = FakeTailCluster({})
    streams = {"orders-stream": {"indices": [{"index_name": "orders"}]}}
    state = {"metadata": {"data_stream": {"data_stream": streams}}}
    destination.faults = [Fault("GET /_cluster/state/metadata", (200, state))]
    assert "data stream" in reason(cluster(), destination=destination)


def test_document_level_security() -> None:
    source = cluster(hides={"0-1"})
    assert "isn't shown 1 of its documents" in reason(source)
    # Many indices may be like it.
    assert len(source.sent("POST /orders/_msearch")) == 10


def test_documents_that_an_engine_does_not_count_by_itself_are_not_hidden() -> None:
    mapping = {"properties": {"parts": {"type": "nested"}}}
    orders = FakeTailIndex(shards(1, documents=10), mapping=mapping, nested=2)
    source = FakeTailCluster({"orders": orders})
    source.counts_up_to = 5
    assert reason(source) == ""


def read_back(source: FakeTailCluster, times: int, looks: str) -> None:
    """Has a client write and read a document before each of some looks at the statistics."""
    [shard] = source.tails["orders"].shards

    def write_and_read() -> None:
        shard.read_back += 1
        nonlocal times
        times -= 1
        if times:
            source.before.append((looks, write_and_read))

    source.before.append((looks, write_and_read))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        # Between a refresh and the statistics, which then stand still; the first look is another's.
        (2, ""),
        (50, "its documents can't be counted while so much is written to it"),
    ],
)
def test_what_a_client_has_just_read_is_not_hidden(times: int, expected: str) -> None:
    mapping = {"properties": {"parts": {"type": "nested"}}}
    orders = FakeTailIndex(shards(1, documents=10), mapping=mapping, nested=2)
    source = FakeTailCluster({"orders": orders})
    read_back(source, times, "GET /orders/_stats/docs,indexing")

    assert reason(source) == expected


@pytest.mark.parametrize("masked", ["source", "destination"])
def test_field_masking_is_seen_however_much_was_written_since(masked: str) -> None:
    source = FakeTailCluster({"orders": FakeTailIndex(shards(2, documents=30))})
    destination = FakeTailCluster({"orders": source.tails["orders"].restored("uuid-restored")})
    for shard in source.tails["orders"].shards:
        for number in range(20):
            shard.delete(f"{shard.number}-{number}")
        shard.index(f"{shard.number}-25", {"written": "anew"})
    asked = index(shards=2)
    assert reason(source, asked, destination) == ""

    (source if masked == "source" else destination).tails["orders"].masks = {"written"}

    assert "field masking or field-level security must not" in reason(source, asked, destination)


@pytest.mark.parametrize("call", ["GET /_cluster/state/.*", "PUT /Snapferry/_block/write"])
def test_a_call_that_the_domain_does_not_allow(call: str) -> None:
    source = cluster()
    refusal = {"Message": "Your request: '/_cluster/state' is not allowed."}
    source.faults = [Fault(call, (401, refusal))]
    assert "doesn't allow what catching up needs" in reason(source)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ({"number": "6.5.4"}, "the source's engine is older than Elasticsearch 6.7"),
        ({"number": "6.8.0"}, ""),
        ({"number": "7.10.2"}, ""),
        ({"distribution": "opensearch", "number": "1.3.20"}, ""),
    ],
)
def test_the_engine_of_the_source(version: dict[str, str], expected: str) -> None:
    source = cluster()
    source.version = version
    assert reason(source) == expected


def test_asking_changes_nothing() -> None:
    source = cluster()
    before = dict(source.tails["orders"].settings)
    reason(source)
    assert source.tails["orders"].settings == before


def test_thousands_of_indices_are_judged_in_few_requests() -> None:
    names = [f"logs-{number:05}" for number in range(1_000)]
    source = FakeTailCluster({name: FakeTailIndex(shards(1, documents=1)) for name in names})
    source.tails["logs-00500"].hides = {"0-0"}

    reasons = catchup.qualify(
        source.client("source"),
        FakeTailCluster({}).client("destination"),
        [index(name) for name in names],
    )

    assert reasons.keys() == {"logs-00500"}
    assert len(source.requests) < len(names) / 5
