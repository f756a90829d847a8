"""What an index is made of besides its documents: its mapping, its analysis, its settings."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.engines import Engine


def structural_faults(
    source: OpenSearch, destination: OpenSearch, names: Sequence[str]
) -> dict[str, list[str]]:
    """Compares the mappings and the settings that matter, analysis among them.

    Source: https://docs.opensearch.org/latest/api-reference/index-apis/get-index/

    Returns:
        What differs, by the name of the index; an index that either side lacks is left out, and
        all are where the source knows mappings by their types only.
    """
    if Engine.of(source).needs_types:
        return {}
    parameters = [Engine.of(cluster).mapping_parameters for cluster in (source, destination)]
    faults: dict[str, list[str]] = {}
    # In pieces, because the mappings of many indices are large.
    for path in indices.paths(names):
        here, there = (
            cluster.indices.get(
                index=path,
                params={"flat_settings": "true", "ignore_unavailable": "true", **its_own},
            )
            for cluster, its_own in zip((source, destination), parameters, strict=True)
        )
        for name in here.keys() & there.keys():
            settings = [
                indices.settings_that_matter(side[name]["settings"]) for side in (here, there)
            ]
            faults[name] = [
                *differences("mapping", here[name]["mappings"], there[name]["mappings"]),
                *differences("setting", settings[0], settings[1]),
            ]
    return faults


def alias_faults(
    source: OpenSearch,
    destination: OpenSearch,
    names: Sequence[str],
    present: Collection[str],
) -> dict[str, list[str]]:
    """Says which aliases the destination won't take, which it would refuse past the way back.

    The plan has judged them, but what there is changes while a migration runs.

    Args:
        source: whose aliases.
        destination: which is to have them.
        names: of the indices that have them.
        present: the names of all indices of the destination.

    Returns:
        What is in the way, by the name of the index.
    """
    here, there = (indices.aliases(cluster) for cluster in (source, destination))
    writers = {
        alias: index
        for index in there.keys() - set(names)
        for alias, definition in there[index].items()
        if definition.get("is_write_index")
    }
    faults: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for alias, definition in here.get(name, {}).items():
            if alias in present:
                faults[name].append(
                    f"the destination has an index named as its alias {alias}: remove that index, "
                    "or the alias"
                )
            if definition.get("is_write_index") and alias in writers:
                faults[name].append(
                    f"{writers[alias]} at the destination takes the writes of its alias {alias}: "
                    "take is_write_index off there"
                )
    return faults


def differences(
    what: str, here: Mapping[str, Any], there: Mapping[str, Any], prefix: str = ""
) -> list[str]:
    """Names what differs between two definitions, such as mappings.

    Args:
        what: they define.
        here: the source's.
        there: the destination's.
        prefix: the path to them.
    """
    found = []
    for name in sorted(here.keys() | there.keys()):
        path = f"{what} {prefix}{name}"
        if name not in there:
            found.append(f"{path} is missing")
        elif name not in here:
            found.append(f"{path} is one too many")
        elif isinstance(here[name], dict) and isinstance(there[name], dict):
            found += differences(what, here[name], there[name], f"{prefix}{name}.")
        elif here[name] != there[name]:
            found.append(f"{path} is {there[name]!s:.80} instead of {here[name]!s:.80}")
    return found
