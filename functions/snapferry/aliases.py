"""Aliases, which move at the cut-over: as they are at the source then, all in one call."""

from collections.abc import Iterable, Mapping
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.errors import VerificationFailed
from snapferry.verification.structure import differences


def move(source: OpenSearch, destination: OpenSearch, names: Iterable[str]) -> list[str]:
    """Gives the indices at the destination the aliases that they have at the source.

    Filters, routing and write index come along. The call is atomic: clients see either none of
    the aliases or all. What an earlier round or attempt left behind on these indices goes in the
    same call.

    Source: https://docs.opensearch.org/latest/api-reference/alias/aliases-api/

    Args:
        source: where the aliases are read.
        destination: where they are set.
        names: the indices that were moved.

    Returns:
        The names of the aliases, sorted.

    Raises:
        VerificationFailed: where the destination has others afterwards.
    """
    wanted = set(names)
    present = _of(source, wanted)
    stale = _of(destination, wanted)
    actions: list[dict[str, Any]] = [
        {"remove": {"index": index, "alias": alias}}
        for index, alias in sorted(stale.keys() - present.keys())
    ]
    actions += [
        {"add": {"index": index, "alias": alias, **definition}}
        for (index, alias), definition in sorted(present.items())
    ]
    if actions:
        destination.indices.update_aliases(body={"actions": actions})
    if found := faults(source, destination, wanted):
        raise VerificationFailed(
            f"aliases differ from the source: {'; '.join(found[:10])}. What to do: correct them at "
            "the destination; the source stays frozen and readable."
        )
    return sorted({alias for _, alias in present})


def faults(source: OpenSearch, destination: OpenSearch, names: Iterable[str]) -> list[str]:
    """Names the aliases of indices that differ: in their filter, routing or write index, too."""
    wanted = set(names)
    here, there = (_of(cluster, wanted) for cluster in (source, destination))
    return differences("alias", _by_name(here), _by_name(there))


def _by_name(
    definitions: Mapping[tuple[str, str], dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    return {f"{alias} of {index}": found for (index, alias), found in definitions.items()}


def _of(cluster: OpenSearch, wanted: set[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """The definitions of the aliases of some indices, by index and alias."""
    return {
        (index, alias): definition
        for index, aliases in indices.aliases(cluster).items()
        if index in wanted
        for alias, definition in aliases.items()
    }
