"""What can be said of an index before it is moved: whether it can be, and if not, what to do.

Everything here is judged by facts that were read before; nothing asks a cluster.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from snapferry import indices
from snapferry.indices import Index
from snapferry.versions import Version, oldest_readable

# The types, and the names of what is ready to be used, that come with a plugin, by how they begin.
# What the plugins of others are called begins with the engine in some of their versions.
_PLUGINS = {
    "hanlp": "analysis-hanlp",
    "icu_": "analysis-icu",
    "ik_": "analysis-ik",
    "kuromoji": "analysis-kuromoji",
    "nori": "analysis-nori",
    "phonetic": "analysis-phonetic",
    "pinyin": "analysis-pinyin",
    "polish": "analysis-stempel",
    "seunjeon": "analysis-seunjeon",
    "smartcn": "analysis-smartcn",
    "stconvert": "analysis-stconvert",
    "sudachi": "analysis-sudachi",
    "ukrainian": "analysis-ukrainian",
    "vi_": "analysis-vietnamese",
    "annotated_text": "mapper-annotated-text",
    "murmur3": "mapper-murmur3",
    "_size": "mapper-size",
    "knn_vector": "opensearch-knn",
}
_CODECS_PLUGIN = "opensearch-custom-codecs"
_KNN_SETTINGS_REMOVED = (
    "index.knn.algo_param.ef_construction",
    "index.knn.algo_param.m",
    "index.knn.space_type",
)
_ANALYSIS = re.compile(r"index\.analysis\.(\w+)\.(.+)\.(\w+)")
# Of an analyzer's parts, and of a field: what names an analyzer or a part of one.
_USES = {"tokenizer", "filter", "char_filter"}
_USES_OF_FIELD = ("type", "analyzer", "search_analyzer", "search_quote_analyzer", "normalizer")


@dataclass(frozen=True)
class Verdict:
    """What becomes of one index.

    Attributes:
        index: its name; of a data stream, the stream's.
        verdict: `restore`; `skip` for what is never moved; `reject` for what can't be.
        reason: why it isn't restored.
        remedy: what to do about that.
        last_snapshot: why it goes by a last snapshot at the cut-over; empty if it is caught up.
        shards: its primaries.
        replicas: copies of each at the destination.
        primary_store_bytes: what its primaries take at the source.
    """

    index: str
    verdict: Literal["restore", "skip", "reject"]
    reason: str = ""
    remedy: str = ""
    last_snapshot: str = ""
    shards: int = 0
    replicas: int = 0
    primary_store_bytes: int = 0

    @property
    def all_shards(self) -> int:
        """Primaries and replicas."""
        return self.shards * (1 + self.replicas)

    @property
    def all_bytes(self) -> int:
        """What they will take."""
        return self.primary_store_bytes * (1 + self.replicas)

    def record(self) -> dict[str, Any]:
        """Plain JSON, from which `Verdict(**record)` makes the same again."""
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """An index that the input names or matches.

    Attributes:
        index: as the source lists it.
        settings: flat, such as `index.version.created`.
        mapping: without a type.
        aliases: their definitions by name.
    """

    index: Index
    settings: Mapping[str, Any]
    mapping: Mapping[str, Any]
    aliases: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Target:
    """The destination, as far as it decides.

    Attributes:
        version: the lowest of its nodes.
        plugins: those that each of its nodes has.
        present: its indices, by name.
        owned: the names of those that migrations have restored from this domain.
        aliases: by alias and index, the definitions.
        data_nodes: how many of its nodes hold data; 0 where nothing comes to them.
        replicas: how many each index will have; None where as many as at the source.
    """

    version: Version
    plugins: Collection[str]
    present: Mapping[str, Index]
    owned: Collection[str]
    aliases: Mapping[str, Mapping[str, Mapping[str, Any]]]
    data_nodes: int = 0
    replicas: int | None = None

    @cached_property
    def foreign(self) -> set[str]:
        """The names of its indices that no migration has restored from this domain."""
        return self.present.keys() - set(self.owned)

    def others(self, alias: str) -> dict[str, Mapping[str, Any]]:
        """The definitions of an alias by those of its indices that are foreign."""
        named = self.aliases.get(alias, {})
        return {index: named[index] for index in sorted(named.keys() & self.foreign)}

    def tacit_write_index(self, alias: str) -> str | None:
        """The only foreign index of an alias, if its definition is without `is_write_index`.

        It takes the alias's writes, until the alias has another index.
        """
        match list(self.others(alias).items()):
            case [(index, definition)] if "is_write_index" not in definition:
                return index
        return None


@dataclass(frozen=True)
class Refusal:
    """Why an index can't be moved.

    Attributes:
        reason: what stands against it.
        remedy: what to do.
    """

    reason: str
    remedy: str


def judge(candidate: Candidate, source: Version, target: Target) -> Refusal | None:
    """Finds what stands against moving an index; None where nothing does.

    Args:
        candidate: the index.
        source: the highest version of the source's nodes: that of its snapshots.
        target: where it goes.
    """
    refusals = (
        *_by_tier(candidate),
        *_by_version(candidate, source, target),
        *_by_codec(candidate, target),
        *_by_vectors(candidate, target),
        *_by_plugins(candidate, target),
        *_by_names(candidate, target),
        *_by_nodes(candidate, target),
    )
    return refusals[0] if refusals else None


def _by_tier(candidate: Candidate) -> Iterator[Refusal]:
    """Sources: the Amazon developer guide's pages `ultrawarm.html` and `or1.html`."""
    if not candidate.index.open:
        yield Refusal("it is closed: its documents can't be counted and compared", "open it")
    if candidate.settings.get("index.routing.allocation.require.box_type") == "warm":
        yield Refusal(
            "it is in UltraWarm storage, which snapshots leave out",
            "move it to hot storage: POST _ultrawarm/migration/<index>/_hot",
        )
    if candidate.settings.get("index.remote_store.enabled") == "true":
        yield Refusal(
            "its segments lie in the domain's own remote store (OR1 instances), which no other "
            "cluster reads",
            "reindex it into a domain without OR1 instances, and move it from there",
        )


def _by_version(candidate: Candidate, source: Version, target: Target) -> Iterator[Refusal]:
    created = Version.of_id(int(candidate.settings["index.version.created"]))
    oldest = oldest_readable(target.version)
    if source > target.version:
        yield Refusal(
            f"the source is {source}, and the destination, {target.version}, takes no snapshot of "
            "a newer engine",
            "upgrade the destination",
        )
    if created < oldest:
        yield Refusal(
            f"it was created by {created}, and the destination, {target.version}, takes indices "
            f"created since {oldest} only",
            f"reindex it at a source of {oldest} or later, or choose an older destination",
        )


def _by_codec(candidate: Candidate, target: Target) -> Iterator[Refusal]:
    """Source: https://docs.opensearch.org/latest/im-plugin/index-codecs/."""
    codec = str(candidate.settings.get("index.codec", "default"))
    if not codec.startswith(("zstd", "qat_")):
        return
    if target.version < Version(True, 2, 9):
        yield Refusal(
            f"its codec is {codec}, which OpenSearch knows since 2.9",
            "reindex it with the codec best_compression, or upgrade the destination",
        )
    elif target.version >= Version(True, 2, 10) and _CODECS_PLUGIN not in target.plugins:
        yield Refusal(
            f"its codec is {codec}, and the destination lacks the plugin {_CODECS_PLUGIN}",
            "reindex it with the codec best_compression, or install the plugin",
        )


def _by_vectors(candidate: Candidate, target: Target) -> Iterator[Refusal]:
    """Source: https://docs.opensearch.org/latest/breaking-changes/."""
    removed = [name for name in _KNN_SETTINGS_REMOVED if name in candidate.settings]
    if removed and target.version >= Version(True, 3):
        yield Refusal(
            f"{', '.join(removed)}: OpenSearch 3 has no such settings any more",
            "reindex it with these parameters in the method of its knn_vector fields",
        )
    models = [
        field["model_id"]
        for field in _fields(candidate.mapping)
        if field.get("type") == "knn_vector" and "model_id" in field
    ]
    if models:
        yield Refusal(
            f"its vectors need the trained model {models[0]}, which no other cluster has",
            "reindex it with a method in place of the model_id of its knn_vector fields",
        )


def _by_plugins(candidate: Candidate, target: Target) -> Iterator[Refusal]:
    for word in sorted(_words_used(candidate)):
        for beginning, plugin in _PLUGINS.items():
            if word.startswith(beginning) and not any(
                name.endswith(plugin) for name in target.plugins
            ):
                yield Refusal(
                    f"it uses {word} of the plugin {plugin}, which the destination lacks",
                    "install the plugin on every node of the destination",
                )
    files = [
        name
        for name in sorted(candidate.settings)
        if _ANALYSIS.fullmatch(name) and name.endswith(("_path", ".user_dictionary"))
    ]
    if files:
        yield Refusal(
            f"{files[0]} names a file ({candidate.settings[files[0]]}) on the source's nodes",
            "reindex it with the words in the setting itself, such as synonyms",
        )


def _words_used(candidate: Candidate) -> set[str]:
    """The types, analyzers and their parts that an index uses and doesn't define itself."""
    used: set[str] = set()
    defined: set[str] = set()
    for name, value in candidate.settings.items():
        if match := _ANALYSIS.fullmatch(name):
            defined.add(match[2])
            if match[3] == "type":
                used.add(str(value))
            elif match[3] in _USES:
                used |= set(value if isinstance(value, list) else [str(value)])
    if "_size" in candidate.mapping:
        used.add("_size")
    for field in _fields(candidate.mapping):
        used |= {str(field[use]) for use in _USES_OF_FIELD if use in field}
    return used - defined


def _fields(mapping: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The definition of each field, those inside others included."""
    for kind in ("properties", "fields"):
        for field in mapping.get(kind, {}).values():
            yield field
            yield from _fields(field)


def _by_nodes(candidate: Candidate, target: Target) -> Iterator[Refusal]:
    """No node holds two copies of a shard, and writes would be stopped until all are there."""
    if target.replicas is None and indices.has_replicas_by_nodes(candidate.settings):
        return
    replicas = candidate.index.replicas if target.replicas is None else target.replicas
    if 0 < target.data_nodes <= replicas:
        yield Refusal(
            f"the destination's data nodes, {target.data_nodes}, are too few for {replicas} "
            "replicas",
            "set domains[].replicas, or add data nodes",
        )


def _by_names(candidate: Candidate, target: Target) -> Iterator[Refusal]:
    name = candidate.index.name
    foreign = target.foreign
    if name in foreign:
        yield Refusal(
            "the destination has an index of this name that no migration restored",
            "remove or rename it there",
        )
    if name in target.aliases:
        yield Refusal("the destination has an alias of this name", "remove the alias there")
    for alias in candidate.aliases:
        # A migration's own as well: the source has no index of this name, so it is left behind.
        if alias in target.present:
            yield Refusal(
                f"the destination has an index named as its alias {alias}",
                "remove or rename that index",
            )
    for alias, definition in candidate.aliases.items():
        writes_here = bool(definition.get("is_write_index"))
        for other, its in target.others(alias).items():
            if writes_here and its.get("is_write_index"):
                yield Refusal(
                    f"its alias {alias} would have two write indices: the destination has {other}",
                    "take is_write_index or the alias off that index",
                )
        if only := target.tacit_write_index(alias):
            diverted = "go to this one" if writes_here else "be refused"
            yield Refusal(
                f"writes of the destination's clients to {only} by the alias {alias} would "
                f"{diverted}",
                f"set is_write_index of the alias at {only}: to true where clients write "
                "through it, to false where nobody does",
            )
