"""One of the two clusters: how its primaries are asked, and what an answer has to have."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from snapferry import indices
from snapferry.engines import Engine
from snapferry.errors import SnapferryError, Unavailable

PAUSES_SECONDS = tuple(0.1 * 2**attempt for attempt in range(9))
"""How long to wait before each repetition of what a busy cluster refused."""


class Unfit(SnapferryError):  # noqa: N818 - as its siblings
    """An index can't be caught up any more, it needs a snapshot; the text says why."""


@dataclass(frozen=True)
class Side:
    """A cluster.

    Attributes:
        client: of the cluster.
        engine: its software.
        nodes: on which node the primary of a shard lies, by index and number.
        sleep: waits before a repetition.
    """

    client: OpenSearch
    engine: Engine
    nodes: Mapping[tuple[str, int], str]
    sleep: Callable[[float], None] = time.sleep

    def preference(self, index: str, shard: int) -> str:
        """The search preference for the primary of a shard."""
        return self.engine.preference(shard, self.nodes[index, shard])

    def patiently(self, call: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
        """Calls the cluster, again after a while where it has too much to do."""
        for pause_seconds in PAUSES_SECONDS:
            try:
                return call(**arguments)
            except Unavailable as error:
                cause = error.__cause__
                if not (isinstance(cause, TransportError) and cause.status_code == 429):
                    raise
            self.sleep(pause_seconds)
        return call(**arguments)


def refresh(client: OpenSearch, names: Iterable[str]) -> None:
    """Makes all operations of indices visible to searches.

    Raises:
        Unavailable: where a shard failed. That a replica isn't there doesn't matter.
    """
    for path in indices.paths(names):
        shards = client.indices.refresh(index=path)["_shards"]
        if shards["failed"]:
            raise Unavailable(f"{path}: not every shard could be refreshed: {shards}")


def require_complete(answer: Mapping[str, Any], index: str) -> None:
    """Makes sure that all shards have answered a search, as an answer without some looks alike.

    Raises:
        Unavailable: where one hasn't.
    """
    shards = answer.get("_shards", {})
    if (
        "error" in answer
        or answer.get("timed_out")
        or shards.get("successful") != shards.get("total")
    ):
        raise Unavailable(f"{index}: not every shard answered: {answer.get('error', shards)}")
