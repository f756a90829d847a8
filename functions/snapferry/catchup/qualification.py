"""Which indices can't be caught up, and why; they need a last snapshot."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.catchup import mappings, primaries
from snapferry.catchup.documents import LARGEST_PAGE
from snapferry.catchup.marks import MOST_SHARDS
from snapferry.catchup.side import Side
from snapferry.catchup.visibility import altered, hidden_documents, unshown
from snapferry.engines import Engine
from snapferry.errors import AccessDenied, NotFound, RequestRefused
from snapferry.indices import Index
from snapferry.versions import Version

ALTERED = (
    "documents of it are shown otherwise than they are: field masking or field-level security must "
    "not apply to the roles that read it"
)
"""Why an index can't be caught up, nor its documents be compared."""
# No index can have this name, so that asking about it changes nothing.
_NO_INDEX = "Snapferry"


def qualify(
    source: OpenSearch, destination: OpenSearch, selected: Sequence[Index]
) -> dict[str, str]:
    """Finds the indices that can't be caught up.

    Args:
        source: the domain.
        destination: where the indices may be already, restored from a snapshot, and as it left
            them.
        selected: the indices that are to be moved.

    Returns:
        The reason by the name of each index that can't; none for those that can.
    """
    reasons = foresee(source, destination, selected)
    names = unshown(source, [index.name for index in selected if index.name not in reasons])
    found = primaries.look(source, names)
    side = Side(source, Engine.of(source), primaries.nodes(found))
    shards = {name: range(len(of_index)) for name, of_index in found.items()}
    for name, hidden in hidden_documents(side, shards, mappings.read(side, found)).items():
        if reason := _unfit_rights(hidden):
            reasons[name] = reason
    shown = [index.name for index in selected if index.name not in reasons]
    return reasons | dict.fromkeys(altered(source, destination, shown), ALTERED)


def foresee(
    source: OpenSearch, destination: OpenSearch, selected: Sequence[Index]
) -> dict[str, str]:
    """Says as much of `qualify` as is known before anything is copied, whoever asks.

    Whether the caller is shown all documents, and as they are, can be seen with the rights only
    that it has then.

    Args:
        source: the domain.
        destination: where the indices may be already, restored from a snapshot.
        selected: the indices that are to be moved.

    Returns:
        The reason by the name of each index that can't be caught up.
    """
    engine = Engine.of(source)
    if reason := _refused_calls(source, engine):
        return {index.name: reason for index in selected}
    present = indices.list_all(destination)
    streamed = {name for names in indices.data_streams(destination).values() for name in names}
    reasons = {
        index.name: reason
        for index in selected
        if (reason := _unfit_index(index, present.get(index.name), streamed))
    }
    names = [index.name for index in selected if index.name not in reasons]
    # In pieces, because the mappings of many indices are large.
    for path in indices.paths(names):
        piece = path.split(",")
        mapping_of = mappings.read(Side(source, engine, {}), piece)
        settings_of = indices.settings(source, piece)
        for name in piece:
            if reason := (
                _unfit_settings(settings_of[name], engine) or _unfit_mapping(mapping_of[name])
            ):
                reasons[name] = reason
    return reasons


def _refused_calls(source: OpenSearch, engine: Engine) -> str:
    """What the domain doesn't allow of what every round or the freeze needs."""
    if engine.needs_types:
        return "the source's engine is older than Elasticsearch 6.7"
    try:
        primaries.look(source, [_NO_INDEX])
        if engine.blocks_and_waits:
            with contextlib.suppress(NotFound):
                source.transport.perform_request("PUT", f"/{_NO_INDEX}/_block/write")
    except (AccessDenied, RequestRefused) as error:
        return f"the source doesn't allow what catching up needs: {error}"
    return ""


def _unfit_index(index: Index, copy: Index | None, streamed: set[str]) -> str:
    if index.name.startswith("."):
        return "it is a system index"
    if not index.open:
        return "it is closed"
    if index.name in streamed:
        return "it belongs to a data stream of the destination, which takes new documents only"
    if index.shards > MOST_SHARDS:
        return f"it has more than {MOST_SHARDS} shards"
    if copy and copy.shards != index.shards:
        return f"it has {index.shards} shards at the source and {copy.shards} at the destination"
    return ""


def _unfit_settings(settings: Mapping[str, str], engine: Engine) -> str:
    """Judges by flat settings.

    Sources: https://docs.opensearch.org/latest/field-types/metadata-fields/source/ and
    https://docs.opensearch.org/latest/vector-search/performance-tuning-indexing/
    """
    created = Version.of_id(int(settings["index.version.created"]))
    if created < Version(False, 6):
        return "it was created before Elasticsearch 6.0, without sequence numbers"
    blocks = [name for name, value in settings.items() if _is_block(name) and value == "true"]
    if blocks:
        return f"{blocks[0]} is set"
    if settings.get("index.append_only.enabled") == "true":
        return "it is append-only"
    if settings.get("index.derived_source.enabled") == "true":
        return "its documents are derived from their fields: _source isn't stored"
    # On by default for the vector indices of OpenSearch 3.
    derives_vectors = settings.get(
        "index.knn.derived_source.enabled", str(created >= Version(True, 3)).lower()
    )
    if settings.get("index.knn") == "true" and derives_vectors == "true":
        return "its vectors are derived from the k-NN fields: _source isn't complete"
    return unsearchable(settings, engine)


def unsearchable(settings: Mapping[str, str], engine: Engine) -> str:
    """Why searches can't read the documents of an index; empty where they can.

    Args:
        settings: of the index, flat.
        engine: of its cluster.
    """
    # A page is asked for with one document more, which says whether another one follows.
    needed = LARGEST_PAGE + 1
    if int(settings.get("index.max_result_window", needed)) < needed:
        return f"its index.max_result_window is below {needed}"
    if (
        settings.get("index.search.default_pipeline", "_none") != "_none"
        and not engine.ignores_search_pipelines
    ):
        return "its default search pipeline may change what a search shows"
    return ""


def _is_block(setting: str) -> bool:
    return setting.startswith("index.blocks.")


def _unfit_mapping(mapping: Mapping[str, Any]) -> str:
    source = mapping.get("_source", {})
    if str(source.get("enabled", "true")).lower() == "false":
        return "its _source is disabled"
    if source.get("includes") or source.get("excludes"):
        return "its _source is filtered"
    if source.get("mode", "stored") != "stored":
        return f"its _source is {source['mode']}"
    return ""


def _unfit_rights(hidden: int | None) -> str:
    if hidden is None:
        return "its documents can't be counted while so much is written to it"
    if hidden:
        return f"the caller isn't shown {hidden} of its documents: document-level security"
    return ""
