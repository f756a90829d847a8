"""Stops the writes to indices of the source, and lets them go on."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.catchup.side import refresh
from snapferry.engines import Engine
from snapferry.errors import NotFound, Unavailable
from snapferry.journal import Changeable, Journal, Place, side_of

WRITE_BLOCK = "write_block"
_SETTING = "index.blocks.write"
_BLOCKED = "true"
_LOOK_EVERY_SECONDS = 0.05


@dataclass(frozen=True)
class WriteBlock:
    """The block on the writes to an index, as a value that changes: that of the setting.

    Attributes:
        cluster: whose index.
        index: its name.
    """

    cluster: OpenSearch
    index: str

    def read(self) -> Any:
        """`true`, `false`, or None where nothing is set, or where the index is gone."""
        return _blocks(self.cluster, [self.index]).get(self.index)

    def write(self, value: Any) -> None:
        """Sets it; None brings back the default, which is no block."""
        with contextlib.suppress(NotFound):
            self.cluster.indices.put_settings(index=self.index, body={_SETTING: value})


CHANGEABLES: Mapping[str, Callable[[OpenSearch, str], Changeable]] = {WRITE_BLOCK: WriteBlock}


def freeze(
    journal: Journal,
    source: OpenSearch,
    domain: str,
    names: Sequence[str],
    hold_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Blocks writes, waits for those that run, and makes the last ones durable and visible.

    Source: https://docs.opensearch.org/latest/api-reference/index-apis/blocks/

    Args:
        journal: of the migration; it notes each block before all are set by one call.
        source: the domain.
        domain: its name.
        names: the indices; those that are gone are passed by.
        hold_seconds: how long to wait for writes that run.
        sleep: waits.

    Returns:
        The names of those that are frozen now.

    Raises:
        Unavailable: where writes still run after `hold_seconds`.
    """
    present = _blocks(source, names)
    if not present:
        return []
    for name, value in present.items():
        if value != _BLOCKED:
            journal.note(_place(domain, name), value, _BLOCKED)
    engine = Engine.of(source)
    for path in indices.paths(present):
        if engine.blocks_and_waits:
            source.transport.perform_request("PUT", f"/{path}/_block/write")
        else:
            source.indices.put_settings(index=path, body={_SETTING: _BLOCKED})
    if not engine.blocks_and_waits:
        _wait_for_writes(source, time.monotonic() + hold_seconds, sleep)
    for path in indices.paths(present):
        # The checkpoint of an index with asynchronous durability follows only then.
        source.indices.flush(index=path)
    refresh(source, present)
    return list(present)


def let_go(journal: Journal, source: OpenSearch, domain: str, names: Sequence[str]) -> None:
    """Takes the block off again, so that a snapshot doesn't bring it to the destination."""
    for name in names:
        journal.change(_place(domain, name), WriteBlock(source, name), None)


def _place(domain: str, name: str) -> Place:
    return Place(side_of(domain), WRITE_BLOCK, name)


def _blocks(cluster: OpenSearch, names: Sequence[str]) -> dict[str, str | None]:
    """The setting of each index that is there."""
    return {
        name: answer["settings"].get(_SETTING)
        for path in indices.paths(names)
        for name, answer in cluster.indices.get_settings(
            index=path, params={"flat_settings": "true", "ignore_unavailable": "true"}
        ).items()
    }


def _wait_for_writes(source: OpenSearch, leave_at: float, sleep: Callable[[float], None]) -> None:
    """Waits until no write runs that has passed before the block."""
    params = {"actions": "indices:data/write/*", "group_by": "none"}
    while source.tasks.list(params=params)["tasks"]:
        if time.monotonic() >= leave_at:
            raise Unavailable("writes that began before the block still run at the source")
        sleep(_LOOK_EVERY_SECONDS)
