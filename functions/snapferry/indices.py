"""The indices of a cluster: which are moved, and how large they are."""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any
from urllib.parse import quote

from opensearchpy import OpenSearch

from snapferry import patterns
from snapferry.engines import Engine
from snapferry.errors import Conflict, InvalidInput, NotFound, RequestRefused, Unavailable
from snapferry.request import Indices

# Below the 4,096 bytes that a cluster accepts as the first line of a request.
_LONGEST_PATH_BYTES = 3_000
# Settings by which an index takes, finds or shows other documents.
_THAT_MATTER = (
    "index.analysis.",
    "index.analyze.",
    "index.codec",
    "index.default_pipeline",
    "index.final_pipeline",
    "index.knn",
    "index.mapping.",
    "index.mapper.",
    "index.max_",
    "index.number_of_shards",
    "index.query.",
    "index.refresh_interval",
    "index.routing_partition_size",
    "index.search.default_pipeline",
    "index.similarity.",
    "index.sort.",
)


# What a cluster answers of an index that was closed.
_CLOSED = "index_closed_exception"


@contextlib.contextmanager
def may_go() -> Iterator[None]:
    """Has what asks for indices tried again in the midst of which one has gone.

    Raises:
        Unavailable: in place of what the cluster says; the next attempt sees that it is gone.
    """
    try:
        yield
    except (NotFound, RequestRefused) as error:
        if isinstance(error, RequestRefused) and _CLOSED not in str(error):
            raise
        raise Unavailable(f"an index was deleted or closed meanwhile: {error}") from error


@dataclass(frozen=True)
class Index:
    """An index as `_cat/indices` shows it.

    Attributes:
        name: its name.
        uuid: its identity, which a new index of the same name doesn't have.
        open: false where it is closed.
        shards: number of primaries.
        replicas: copies of each primary.
        primary_store_bytes: what its primaries take.
        created_at_milliseconds: of the epoch; a restored index has the one of its original.
    """

    name: str
    uuid: str
    open: bool
    shards: int
    replicas: int
    primary_store_bytes: int
    created_at_milliseconds: int

    def record(self) -> dict[str, Any]:
        """Plain JSON, from which `Index(**record)` makes the same again."""
        return asdict(self)


def list_all(cluster: OpenSearch) -> dict[str, Index]:
    """Every index of a cluster by name, open, closed and hidden ones.

    Source: https://docs.opensearch.org/latest/api-reference/cat/cat-indices/
    """
    rows = cluster.cat.indices(
        format="json",
        bytes="b",
        h="index,uuid,status,pri,rep,pri.store.size,creation.date",
        params=Engine.of(cluster).listing_parameters,
    )
    return {
        row["index"]: Index(
            name=row["index"],
            uuid=row["uuid"],
            open=row["status"] == "open",
            shards=int(row["pri"]),
            replicas=int(row["rep"]),
            primary_store_bytes=int(row["pri.store.size"] or 0),
            created_at_milliseconds=int(row["creation.date"]),
        )
        for row in rows
    }


def settings(
    cluster: OpenSearch, names: Iterable[str], **parameters: str
) -> dict[str, dict[str, Any]]:
    """The settings of indices, flat, such as `index.version.created`.

    Source: https://docs.opensearch.org/latest/api-reference/index-apis/get-settings/
    """
    return {
        name: answer["settings"]
        for path in paths(names)
        for name, answer in cluster.indices.get_settings(
            index=path, params={"flat_settings": "true", **parameters}
        ).items()
    }


def settings_that_matter(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of flat settings by which an index takes, finds or shows other documents.

    Those of operation, such as where shards may lie, are the destination's own.
    """
    return {name: value for name, value in settings.items() if name.startswith(_THAT_MATTER)}


def has_replicas_by_nodes(settings: Mapping[str, Any]) -> bool:
    """Whether an index with these flat settings has as many replicas as nodes make of it."""
    return bool(settings.get("index.auto_expand_replicas", "false") != "false")


def restored_from(cluster: OpenSearch, names: Iterable[str]) -> dict[str, set[tuple[str, str]]]:
    """The repository and the snapshot that each index was restored from, as far as it shows.

    A cluster forgets it when it moves or restarts a shard.

    Source: https://docs.opensearch.org/latest/api-reference/index-apis/recover/
    """
    fields = ("type", "source.repository", "source.snapshot")
    return {
        name: {
            (shard["source"]["repository"], shard["source"]["snapshot"])
            for shard in index["shards"]
            if shard["type"] == "SNAPSHOT"
        }
        for path in paths(sorted(names))
        for name, index in cluster.indices.recovery(
            index=path, params={"filter_path": ",".join(f"*.shards.{field}" for field in fields)}
        ).items()
    }


def count(cluster: OpenSearch, names: Iterable[str]) -> dict[str, int]:
    """Counts the documents of each index after a refresh, nested ones not counted apart.

    One search counts many indices. Partial answers are refused, since an empty answer isn't an
    empty index; and so are search pipelines, where the engine can leave them out.

    Raises:
        Unavailable: where a shard didn't answer.
    """
    documents: dict[str, int] = {}
    search_options = Engine.of(cluster).search_options
    for path in paths(names):
        piece = path.split(",")
        _complete(cluster.indices.refresh(index=path), path)
        answer = cluster.search(
            index=path,
            body={
                "size": 0,
                "track_total_hits": True,
                "aggs": {"indices": {"terms": {"field": "_index", "size": len(piece)}}},
                **search_options,
            },
            params={"allow_partial_search_results": "false"},
        )
        _complete(answer, path)
        counted = {
            bucket["key"]: bucket["doc_count"]
            for bucket in answer["aggregations"]["indices"]["buckets"]
        }
        documents |= {name: counted.get(name, 0) for name in piece}
    return documents


def aliases(cluster: OpenSearch) -> dict[str, dict[str, dict[str, Any]]]:
    """The definitions of the aliases of each index, by their names.

    Source: https://docs.opensearch.org/latest/api-reference/alias/aliases-api/
    """
    return {name: answer["aliases"] for name, answer in cluster.indices.get_alias().items()}


def health(cluster: OpenSearch) -> dict[str, dict[str, Any]]:
    """The `status` of each index, and how many `unassigned_shards` it has.

    Source: https://docs.opensearch.org/latest/api-reference/cluster-api/cluster-health/
    """
    answer = cluster.cluster.health(
        params={"level": "indices", "filter_path": "indices.*.status,indices.*.unassigned_shards"}
    )
    found: dict[str, dict[str, Any]] = answer.get("indices", {})
    return found


def data_streams(cluster: OpenSearch) -> dict[str, list[str]]:
    """The names of the backing indices of each data stream.

    Source: https://docs.opensearch.org/latest/api-reference/cluster-api/cluster-state/
    """
    state = cluster.cluster.state(metric="metadata", params={"filter_path": "metadata.data_stream"})
    streams = state.get("metadata", {}).get("data_stream", {}).get("data_stream", {})
    return {
        name: [index["index_name"] for index in stream["indices"]]
        for name, stream in streams.items()
    }


def match(
    present: Iterable[Index],
    wanted: Indices,
    elsewhere: Collection[str] = (),
    *,
    place: str = "the source",
) -> list[Index]:
    """The indices that are named or matched, in the order of their names, never a system index.

    Args:
        present: those of the source, or of a snapshot.
        wanted: what the input says.
        elsewhere: names of what is there and is no index of the cluster, such as cold indices.
        place: what has those that are present, for errors.

    Raises:
        InvalidInput: where nothing matches, or a name that was given isn't there.
    """
    movable = {index.name: index for index in present if not index.name.startswith(".")}
    known = movable.keys() | set(elsewhere)
    missing = [name for name in wanted.include if "*" not in name and name not in known]
    if missing:
        raise InvalidInput(
            f"domains[].indices.include: {', '.join(missing)}: {place} has no such index; "
            "correct the name or remove it"
        )
    matched = matching(movable.values(), wanted)
    if not matched and not any(is_wanted(name, wanted) for name in elsewhere):
        raise InvalidInput(
            f"domains[].indices: no index of {place} matches include {list(wanted.include)} "
            f"without exclude {list(wanted.exclude)}; it has {some(movable)}"
        )
    return matched


def select(
    present: Iterable[Index], wanted: Indices, left_out: Collection[str] = ()
) -> list[Index]:
    """The indices to move, in the order of their names.

    Args:
        present: those of the source.
        wanted: what the input says.
        left_out: the names of those that the plan leaves where they are.

    Raises:
        InvalidInput: where nothing matches or all is left out, a name that was given isn't there,
            or one is closed.
    """
    matched = match(present, wanted)
    selected = [index for index in matched if index.name not in left_out]
    if not selected:
        raise InvalidInput(
            f"domains[].indices: nothing of what matches can be moved; the plan leaves out "
            f"{some(index.name for index in matched)}"
        )
    closed = [index.name for index in selected if not index.open]
    if closed:
        raise InvalidInput(
            f"domains[].indices: {some(closed)}: a closed index can't be moved; open it, or put "
            "it into exclude"
        )
    return selected


def matching(present: Iterable[Index], wanted: Indices) -> list[Index]:
    """The indices that the input stands for, in the order of their names, no system index."""
    return sorted(
        (
            index
            for index in present
            if not index.name.startswith(".") and is_wanted(index.name, wanted)
        ),
        key=attrgetter("name"),
    )


def is_wanted(name: str, wanted: Indices) -> bool:
    """Whether an index of this name is moved, if it is there."""
    return any(patterns.matches(name, pattern) for pattern in wanted.include) and not any(
        patterns.matches(name, pattern) for pattern in wanted.exclude
    )


def refuse_strangers(
    selected: Sequence[Index], present: dict[str, Index], owned: Collection[str]
) -> None:
    """Makes sure that no index of someone else would be written over at the destination.

    Args:
        selected: what is to be restored.
        present: what stands at the destination.
        owned: the names of those that migrations have restored there.

    Raises:
        Conflict: naming the indices that are somebody else's.
    """
    strangers = [
        index.name for index in selected if index.name in present and index.name not in owned
    ]
    if strangers:
        raise Conflict(
            f"{some(strangers)}: the destination has an index of this name that no migration "
            "restored; remove or rename it there, or put it into domains[].indices.exclude"
        )


def paths(names: Iterable[str]) -> Iterator[str]:
    """Joins names by commas into pieces that fit into the path of a request."""
    piece: list[str] = []
    length = 0
    for name in names:
        # With a comma, which is percent-encoded as well by some clients.
        name_bytes = len(quote(name, safe="")) + 3
        if piece and length + name_bytes > _LONGEST_PATH_BYTES:
            yield ",".join(piece)
            piece, length = [], 0
        piece.append(name)
        length += name_bytes
    if piece:
        yield ",".join(piece)


def some(names: Iterable[str]) -> str:
    """The first names, and how many more there are: messages have to stay readable."""
    listed = sorted(names)
    more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
    return ", ".join(listed[:10]) + more if listed else "none"


def _complete(answer: dict[str, Any], path: str) -> None:
    if answer["_shards"]["failed"] or answer.get("timed_out"):
        raise Unavailable(f"{path}: not every shard answered: {answer['_shards']}")
