"""The mappings of indices: what they forbid, and how they come to the destination."""

from collections.abc import Iterable, Mapping
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.catchup.side import Side, Unfit
from snapferry.engines import Engine
from snapferry.errors import RequestRefused


def read(side: Side, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The mapping of each index, without a type.

    Source: https://docs.opensearch.org/latest/api-reference/index-apis/get-mapping/
    """
    return {
        name: answer["mappings"]
        for path in indices.paths(names)
        for name, answer in side.client.indices.get_mapping(
            index=path, params=side.engine.mapping_parameters
        ).items()
    }


def bring(
    destination: Side, name: str, mapping: Mapping[str, Any], present: Mapping[str, Any]
) -> None:
    """Gives the destination the mapping of the source, unless it has it.

    Documents would make one of their own otherwise, which may be another one.

    Raises:
        Unfit: where it is refused.
    """
    if mapping == present:
        return
    # A mapping only grows, and the destination's is of an earlier moment.
    if hidden := sorted(_paths(present).keys() - _paths(mapping).keys()):
        raise Unfit(
            f"the source doesn't show the field {hidden[0]}: field-level security must not apply "
            "to the role that reads it"
        )
    try:
        destination.client.indices.put_mapping(index=name, body=dict(mapping))
    except RequestRefused as error:
        raise Unfit(f"the destination refuses the source's mapping: {error}") from error


def bring_mappings(
    source: OpenSearch, destination: OpenSearch, names: Iterable[str]
) -> dict[str, str]:
    """Brings the mappings of indices, those that nothing is written to among them.

    A round brings them with documents only, and both sides have to be equal in the end.

    Args:
        source: the domain.
        destination: where the indices are caught up.
        names: of indices that are on both sides.

    Returns:
        Why some can't be caught up any more, by their names.
    """
    sides = [Side(cluster, Engine.of(cluster), {}) for cluster in (source, destination)]
    unfit = {}
    for path in indices.paths(names):
        at_source, at_destination = (read(side, path.split(",")) for side in sides)
        for name, mapping in at_source.items():
            try:
                bring(sides[1], name, mapping, at_destination[name])
            except Unfit as error:
                unfit[name] = str(error)
    return unfit


def nested_paths(mapping: Mapping[str, Any]) -> list[str]:
    """The paths of all nested fields."""
    return [path for path, kind in _paths(mapping).items() if kind == "nested"]


def _paths(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The type of each field by its path."""
    paths: dict[str, str] = {}
    for name, field in mapping.get("properties", {}).items():
        paths[prefix + name] = field.get("type", "object")
        paths |= _paths(field, f"{prefix}{name}.")
    return paths
