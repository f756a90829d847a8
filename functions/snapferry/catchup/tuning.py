"""Settings of the destination's indices while they are caught up, given back afterwards."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.errors import RequestRefused
from snapferry.records import Records

_SETTINGS = {
    # Each round refreshes when it needs it.
    "index.refresh_interval": "-1",
    # A document that was deleted and made anew may come with a lower version.
    "index.gc_deletes": "0",
    # Documents come as they are.
    "index.final_pipeline": "_none",
    # What was answered is kept, whatever happens to a node.
    "index.translog.durability": "request",
    # Each round leaves small segments. To merge them at once would take the processors from it.
    "index.merge.policy.segments_per_tier": "30",
}


def tune(
    destination: OpenSearch, records: Records, domain: str, names: Sequence[str], round_number: int
) -> None:
    """Sets what catching up needs, and stores what was there before.

    Args:
        destination: where the indices were restored.
        records: of the migration.
        domain: the domain's name.
        names: the indices.
        round_number: of the snapshot; a restore brings the source's settings.
    """
    before = {
        name: {setting: present.get(setting) for setting in _SETTINGS}
        for name, present in indices.settings(destination, names).items()
    }
    # Of a repeated call, this is what the first one has set.
    records.write_once(_name(domain, round_number), before)
    for path in indices.paths(names):
        destination.indices.put_settings(index=path, body=_SETTINGS)


def bring_settings(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    domain: str,
    names: Sequence[str],
    round_number: int,
) -> dict[str, str]:
    """Brings settings that were changed at the source since the indices were restored.

    Those that catching up needs otherwise come with `give_back`.

    Args:
        source: the domain.
        destination: where the indices are caught up.
        records: of the migration.
        domain: the domain's name.
        names: of indices that are on both sides.
        round_number: of the snapshot after which they were tuned.

    Returns:
        Why some can't be caught up any more, by their names.
    """
    before = records.read(_name(domain, round_number), default={})
    unfit = {}
    # In pieces, because the settings of many indices are large.
    for path in indices.paths(names):
        at_source, at_destination = (
            indices.settings(cluster, path.split(",")) for cluster in (source, destination)
        )
        for name, here in at_source.items():
            changed = _changed(here, at_destination[name] | before[name])
            before[name] |= {
                setting: changed.pop(setting) for setting in _SETTINGS if setting in changed
            }
            if not changed:
                continue
            try:
                destination.indices.put_settings(index=name, body=changed)
            except RequestRefused as error:
                unfit[name] = (
                    f"{', '.join(changed)} changed at the source, which the destination refuses: "
                    f"{error}"
                )
    records.write(_name(domain, round_number), before)
    return unfit


def _changed(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that matter and differ, as they are here; None where they aren't set."""
    wanted, present = map(indices.settings_that_matter, (here, there))
    return {
        name: wanted.get(name)
        for name in sorted(wanted.keys() | present.keys())
        if wanted.get(name) != present.get(name)
    }


def give_back(
    destination: OpenSearch, records: Records, domain: str, names: Sequence[str], round_number: int
) -> None:
    """Sets what was there before `tune`.

    Args:
        destination: where the indices were restored.
        records: of the migration.
        domain: the domain's name.
        names: the indices.
        round_number: of the snapshot after which they were tuned.
    """
    before = records.read(_name(domain, round_number), default={})
    alike: dict[tuple[tuple[str, str | None], ...], list[str]] = defaultdict(list)
    for name in names:
        alike[tuple(before[name].items())].append(name)
    for items, of_these in alike.items():
        for path in indices.paths(of_these):
            destination.indices.put_settings(index=path, body=dict(items))


def _name(domain: str, round_number: int) -> str:
    return f"{domain}/tuned-settings-{round_number}"
