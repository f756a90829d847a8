"""Stops the writes to indices of the source, and lets them go on."""

import time
from collections.abc import Callable, Sequence

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.catchup.side import refresh
from snapferry.engines import Engine
from snapferry.errors import Unavailable

_LOOK_EVERY_SECONDS = 0.05


def freeze(
    source: OpenSearch,
    names: Sequence[str],
    hold_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Blocks writes, waits for those that run, and makes the last ones durable and visible.

    Raises:
        Unavailable: where writes still run after `hold_seconds`.

    Source: https://docs.opensearch.org/latest/api-reference/index-apis/blocks/
    """
    engine = Engine.of(source)
    for path in indices.paths(names):
        if engine.blocks_and_waits:
            source.transport.perform_request("PUT", f"/{path}/_block/write")
        else:
            source.indices.put_settings(index=path, body={"index.blocks.write": True})
    if not engine.blocks_and_waits:
        _wait_for_writes(source, time.monotonic() + hold_seconds, sleep)
    for path in indices.paths(names):
        # The checkpoint of an index with asynchronous durability follows only then.
        source.indices.flush(index=path)
    refresh(source, names)


def unfreeze(source: OpenSearch, names: Sequence[str]) -> None:
    """Takes the block off."""
    for path in indices.paths(names):
        source.indices.put_settings(index=path, body={"index.blocks.write": None})


def _wait_for_writes(source: OpenSearch, leave_at: float, sleep: Callable[[float], None]) -> None:
    """Waits until no write runs that has passed before the block."""
    params = {"actions": "indices:data/write/*", "group_by": "none"}
    while source.tasks.list(params=params)["tasks"]:
        if time.monotonic() >= leave_at:
            raise Unavailable("writes that began before the block still run at the source")
        sleep(_LOOK_EVERY_SECONDS)
