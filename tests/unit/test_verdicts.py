"""What can be said of an index before it is moved."""

from dataclasses import replace
from typing import Any

import pytest

from snapferry.indices import Index
from snapferry.verdicts import Candidate, Refusal, Target, judge
from snapferry.versions import Version

ORDERS = Index("orders", "u1", True, 1, 1, 1_000, 1_800_000_000_000)
SOURCE = Version(True, 2, 19, 4)
TARGET = Target(
    version=Version(True, 3, 6), plugins=frozenset(), present={}, owned=frozenset(), aliases={}
)


def version_id(number: str) -> str:
    """The id of a version, as clusters store it."""
    major, minor, patch = map(int, number.split("."))
    bit = 0x08000000 if major < 5 else 0
    return str(bit + major * 1_000_000 + minor * 10_000 + patch * 100 + 99)


_TRAINED = {"type": "knn_vector", "model_id": "trained-once"}


def candidate(
    settings: dict[str, Any] | None = None,
    mapping: dict[str, Any] | None = None,
    aliases: dict[str, dict[str, Any]] | None = None,
    index: Index = ORDERS,
) -> Candidate:
    created = {"index.version.created": version_id("2.19.4")}
    return Candidate(index, created | (settings or {}), mapping or {}, aliases or {})


def reason(asked: Candidate, source: Version = SOURCE, target: Target = TARGET) -> str:
    """Why it is refused; empty where it isn't. Each refusal comes with a remedy."""
    refusal = judge(asked, source, target)
    assert refusal is None or refusal.remedy
    return refusal.reason if refusal else ""


def test_a_sound_index_is_moved() -> None:
    assert judge(candidate(), SOURCE, TARGET) is None


@pytest.mark.parametrize(
    ("created", "source", "destination", "expected"),
    [
        ("7.10.2", "7.10.2", "1.3.20", ""),
        ("7.10.2", "7.10.2", "2.19.4", ""),
        ("6.8.0", "6.8.0", "1.3.20", ""),
        ("1.3.20", "1.3.20", "2.19.4", ""),
        ("2.19.4", "2.19.4", "3.6.0", ""),
        ("3.6.0", "3.6.0", "3.6.0", ""),
        ("6.8.0", "6.8.0", "2.19.4", "created by Elasticsearch 6.8.0"),
        ("7.10.2", "7.10.2", "3.6.0", "takes indices created since OpenSearch 2.0.0 only"),
        # A domain that was upgraded in place.
        ("6.8.0", "1.3.20", "2.19.4", "created by Elasticsearch 6.8.0"),
        ("7.10.2", "2.19.4", "3.6.0", "created by Elasticsearch 7.10.2"),
        ("2.19.4", "2.19.4", "2.19.3", "takes no snapshot of a newer engine"),
        ("3.6.0", "3.6.0", "2.19.4", "takes no snapshot of a newer engine"),
    ],
)
def test_the_version_of_the_index_decides(
    created: str, source: str, destination: str, expected: str
) -> None:
    asked = candidate({"index.version.created": version_id(created)})
    target = replace(TARGET, version=Version.of_node(destination))

    found = reason(asked, Version.of_node(source), target)

    assert expected in found
    assert bool(expected) == bool(found)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (candidate(index=replace(ORDERS, open=False)), "it is closed"),
        (candidate({"index.routing.allocation.require.box_type": "warm"}), "UltraWarm"),
        (candidate({"index.routing.allocation.require.box_type": "hot"}), ""),
        (candidate({"index.remote_store.enabled": "true"}), "remote store (OR1 instances)"),
        (candidate({"index.knn.algo_param.m": "16"}), "index.knn.algo_param.m: OpenSearch 3"),
        (candidate({"index.knn.algo_param.ef_search": "100"}), ""),
        (
            candidate({}, {"properties": {"a": {"properties": {"b": _TRAINED}}}}),
            "its vectors need the trained model trained-once",
        ),
    ],
)
def test_where_it_lies_and_its_vectors(asked: Candidate, expected: str) -> None:
    assert expected in reason(asked)
    assert bool(expected) == bool(reason(asked))


def test_settings_of_vectors_that_the_destination_still_has() -> None:
    target = replace(TARGET, version=Version(True, 2, 19, 4))

    assert reason(candidate({"index.knn.space_type": "l2"}), target=target) == ""


@pytest.mark.parametrize(
    ("codec", "destination", "plugins", "expected"),
    [
        ("best_compression", "2.8.0", set[str](), ""),
        ("zstd", "2.8.0", {"opensearch-custom-codecs"}, "knows since 2.9"),
        ("zstd", "2.9.0", set[str](), ""),
        ("zstd_no_dict", "3.6.0", set[str](), "lacks the plugin opensearch-custom-codecs"),
        ("zstd_no_dict", "3.6.0", {"opensearch-custom-codecs"}, ""),
        ("qat_lz4", "3.6.0", set[str](), "lacks the plugin opensearch-custom-codecs"),
    ],
)
def test_codecs(codec: str, destination: str, plugins: set[str], expected: str) -> None:
    target = replace(TARGET, version=Version.of_node(destination), plugins=plugins)
    found = reason(candidate({"index.codec": codec}), Version(True, 2, 0), target)
    assert expected in found
    assert bool(expected) == bool(found)


ANALYSIS = "index.analysis"


@pytest.mark.parametrize(
    ("settings", "mapping", "plugin"),
    [
        ({f"{ANALYSIS}.analyzer.mine.type": "kuromoji"}, {}, "analysis-kuromoji"),
        ({f"{ANALYSIS}.tokenizer.mine.type": "nori_tokenizer"}, {}, "analysis-nori"),
        ({f"{ANALYSIS}.filter.mine.type": "icu_folding"}, {}, "analysis-icu"),
        ({f"{ANALYSIS}.analyzer.mine.tokenizer": "icu_tokenizer"}, {}, "analysis-icu"),
        (
            {f"{ANALYSIS}.analyzer.mine.filter": ["lowercase", "polish_stem"]},
            {},
            "analysis-stempel",
        ),
        ({}, {"properties": {"a": {"type": "text", "analyzer": "smartcn"}}}, "analysis-smartcn"),
        (
            {},
            {"properties": {"a": {"properties": {"b": {"fields": {"c": {"type": "murmur3"}}}}}}},
            "mapper-murmur3",
        ),
        ({}, {"properties": {"a": {"type": "knn_vector", "dimension": 3}}}, "opensearch-knn"),
        ({}, {"_size": {"enabled": True}}, "mapper-size"),
        ({f"{ANALYSIS}.tokenizer.mine.type": "seunjeon_tokenizer"}, {}, "analysis-seunjeon"),
        ({f"{ANALYSIS}.analyzer.mine.tokenizer": "vi_tokenizer"}, {}, "analysis-vietnamese"),
        ({}, {"properties": {"a": {"analyzer": "hanlp_index"}}}, "analysis-hanlp"),
    ],
)
def test_plugins_that_the_destination_lacks(
    settings: dict[str, Any], mapping: dict[str, Any], plugin: str
) -> None:
    asked = candidate(settings, mapping)

    assert f"of the plugin {plugin}, which the destination lacks" in reason(asked)
    for name in (plugin, f"opensearch-{plugin}"):
        assert reason(asked, target=replace(TARGET, plugins={name})) == ""


def test_names_of_its_own_need_no_plugin() -> None:
    asked = candidate(
        {
            f"{ANALYSIS}.filter.polish_words.type": "stop",
            f"{ANALYSIS}.analyzer.nori_like.type": "custom",
            f"{ANALYSIS}.analyzer.nori_like.filter": ["polish_words"],
        },
        {"properties": {"a": {"type": "text", "analyzer": "nori_like"}}},
    )

    assert reason(asked) == ""


def test_files_on_the_nodes_of_the_source() -> None:
    path = f"{ANALYSIS}.filter.mine.synonyms_path"
    asked = candidate({f"{ANALYSIS}.filter.mine.type": "synonym", path: "analyzers/F111"})

    assert f"{path} names a file (analyzers/F111)" in reason(asked)


STRANGER = replace(ORDERS, name="stranger", uuid="u2")
WRITES = {"is_write_index": True}


@pytest.mark.parametrize(
    ("asked", "changes", "expected"),
    [
        (candidate(), {"present": {"orders": ORDERS}}, "an index of this name that no migration"),
        (candidate(), {"present": {"orders": ORDERS}, "owned": {"orders"}}, ""),
        (candidate(), {"aliases": {"orders": {"stranger": {}}}}, "an alias of this name"),
        (
            candidate(aliases={"stranger": {}}),
            {"present": {"stranger": STRANGER}},
            "an index named as its alias stranger",
        ),
        (
            # What an earlier migration has left, and the source has no more.
            candidate(aliases={"left": {}}),
            {"present": {"left": STRANGER}, "owned": {"left"}},
            "an index named as its alias left",
        ),
        (
            candidate(aliases={"all": WRITES}),
            {"present": {"stranger": STRANGER}, "aliases": {"all": {"stranger": WRITES}}},
            "two write indices: the destination has stranger",
        ),
        # Whoever writes through it writes to their only index.
        (
            candidate(aliases={"all": WRITES}),
            {"present": {"stranger": STRANGER}, "aliases": {"all": {"stranger": {}}}},
            "writes of the destination's clients to stranger by the alias all would go to this one",
        ),
        (
            candidate(aliases={"all": {}}),
            {"present": {"stranger": STRANGER}, "aliases": {"all": {"stranger": {}}}},
            "writes of the destination's clients to stranger by the alias all would be refused",
        ),
        (
            candidate(aliases={"all": WRITES}),
            {
                "present": {"stranger": STRANGER},
                "aliases": {"all": {"stranger": {"is_write_index": False}}},
            },
            "",
        ),
        (
            candidate(aliases={"all": {}}),
            {"present": {"stranger": STRANGER}, "aliases": {"all": {"stranger": WRITES}}},
            "",
        ),
        # Nobody writes to one that is for reading.
        (
            candidate(aliases={"all": WRITES}),
            {
                "present": {"stranger": STRANGER, "other": STRANGER},
                "aliases": {"all": {"stranger": {}, "other": {}}},
            },
            "",
        ),
        # What an earlier attempt has left goes with the aliases' move.
        (
            candidate(aliases={"all": WRITES}),
            {
                "present": {"orders": ORDERS},
                "owned": {"orders"},
                "aliases": {"all": {"orders": WRITES}},
            },
            "",
        ),
    ],
)
def test_what_stands_in_the_way(asked: Candidate, changes: dict[str, Any], expected: str) -> None:
    found = reason(asked, target=replace(TARGET, **changes))

    assert expected in found
    assert bool(expected) == bool(found)


def test_the_first_refusal_counts() -> None:
    asked = candidate({"index.codec": "zstd"}, index=replace(ORDERS, open=False))

    refusal = judge(asked, SOURCE, TARGET)

    assert isinstance(refusal, Refusal)
    assert refusal.reason.startswith("it is closed")


@pytest.mark.parametrize(
    ("replicas", "wanted", "settings", "expected"),
    [
        (2, None, {}, "data nodes, 2, are too few for 2 replicas"),
        (1, None, {}, ""),
        (2, 1, {}, ""),
        (0, 2, {}, "data nodes, 2, are too few for 2 replicas"),
        # It has as many as the destination's nodes make of it, unless the input says how many.
        (2, None, {"index.auto_expand_replicas": "0-all"}, ""),
        (2, 2, {"index.auto_expand_replicas": "0-all"}, "are too few"),
        (2, None, {"index.auto_expand_replicas": "false"}, "are too few"),
    ],
)
def test_replicas_need_nodes(
    replicas: int, wanted: int | None, settings: dict[str, Any], expected: str
) -> None:
    asked = candidate(settings, index=replace(ORDERS, replicas=replicas))

    found = reason(asked, target=replace(TARGET, data_nodes=2, replicas=wanted))

    assert expected in found
    assert bool(expected) == bool(found)
    assert reason(asked) == ""
