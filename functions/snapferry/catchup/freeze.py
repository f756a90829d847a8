"""Stops the writes to indices of the source, and lets them go on."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from snapferry import indices
from snapferry.engines import Engine
from snapferry.errors import AccessDenied, RequestRefused, SnapferryError, Unavailable
from snapferry.journal import Changeable, Journal, Place, side_of

WRITE_BLOCK = "write_block"
_SETTING = "index.blocks.write"
_BLOCKED = "true"
_WRITE_BLOCK_ID = "8"
# The last is what OpenSearch says of an index on a node whose disk is full.
_REFUSALS = {400, 403, 429}
_DURABILITY = "index.translog.durability"
_LOOK_EVERY_SECONDS = 0.05


@dataclass(frozen=True)
class WriteBlocks:
    """The blocks on the writes to indices, as values that change: those of the setting.

    Attributes:
        cluster: whose indices.
        names: of them, with commas between them.
    """

    cluster: OpenSearch
    names: str

    def read(self) -> dict[str, str | None]:
        """`true`, `false`, or None where nothing is set, or where the index is gone."""
        names = self.names.split(",")
        present = _settings(self.cluster, names)
        return {name: _block(present.get(name, {})) for name in names}

    def write(self, value: Mapping[str, str | None]) -> None:
        """Sets them; None brings back the default, which is no block."""
        for block in set(value.values()):
            names = [name for name in value if value[name] == block]
            # Their setting is the last to go, or nobody would know of them.
            unfinished = self._unfinished(names) if block != _BLOCKED else []
            with contextlib.ExitStack() as steps:
                steps.callback(self._finish, unfinished, block)
                self._set([name for name in names if name not in unfinished], block)

    def _finish(self, names: Iterable[str], block: str | None) -> None:
        """Takes off blocks that are unfinished: blocking again finishes them."""
        for path in indices.paths(names):
            _block_and_wait(self.cluster, path)
        self._set(names, block)

    def _set(self, names: Iterable[str], block: str | None) -> None:
        for path in indices.paths(names):
            try:
                self._set_all(path, block)
            except SnapferryError as error:
                if not _is_refusal(error):
                    raise
                # One that refuses, on a node whose disk is full, doesn't hold the others back.
                with contextlib.ExitStack() as refusals:
                    for name in path.split(","):
                        refusals.callback(self._set_all, name, block)

    def _set_all(self, path: str, block: str | None) -> None:
        self.cluster.indices.put_settings(
            index=path, body={_SETTING: block}, params={"ignore_unavailable": "true"}
        )

    def _unfinished(self, names: Iterable[str]) -> list[str]:
        """The indices with a block that couldn't wait for all writes, and outlives its setting.

        Source: https://github.com/opensearch-project/OpenSearch/issues/3067
        """
        found: list[str] = []
        for path in indices.paths(names):
            # Some services don't let everybody look.
            with contextlib.suppress(AccessDenied, RequestRefused):
                state = self.cluster.cluster.state(
                    metric="blocks",
                    index=path,
                    params={
                        "ignore_unavailable": "true",
                        "filter_path": f"blocks.indices.*.{_WRITE_BLOCK_ID}.uuid",
                    },
                )
                found += state.get("blocks", {}).get("indices", {})
        return found


CHANGEABLES: Mapping[str, Callable[[OpenSearch, str], Changeable]] = {WRITE_BLOCK: WriteBlocks}


def note_blocks(journal: Journal, source: OpenSearch, domain: str, names: Sequence[str]) -> None:
    """Notes the blocks of a later freeze in the journal, so that the freeze needn't.

    Args:
        journal: of the migration.
        source: the domain.
        domain: its name.
        names: the indices; those that are gone are passed by.
    """
    _note(journal, domain, _settings(source, names))


def _note(journal: Journal, domain: str, present: Mapping[str, Mapping[str, str]]) -> None:
    """Notes the blocks of indices with these settings, unless they are noted or set."""
    noted = {
        change.place: change.before
        for change in journal.open_changes({WRITE_BLOCK})
        if _BLOCKED in change.ours
    }
    blocks = {_place(domain, name): _block(settings) for name, settings in present.items()}
    journal.note_all(
        {
            place: block
            for place, block in blocks.items()
            if block != _BLOCKED and (place not in noted or noted[place] != block)
        },
        _BLOCKED,
    )


def freeze(
    journal: Journal,
    source: OpenSearch,
    domain: str,
    names: Sequence[str],
    hold_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Blocks writes, waits for those that run, and makes the last ones durable.

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
        Unavailable: where writes still run after `hold_seconds`, or after half a minute where the
            engine itself waits for them; then freeze again.
    """
    present = _settings(source, names)
    if not present:
        return []
    _note(journal, domain, present)
    engine = Engine.of(source)
    for path in indices.paths(present):
        if engine.blocks_and_waits:
            _block_and_wait(source, path)
        else:
            answer = source.indices.put_settings(index=path, body={_SETTING: _BLOCKED})
            _require_acknowledged(answer)
    if not engine.blocks_and_waits:
        _wait_for_writes(source, time.monotonic() + hold_seconds, sleep)
    delayed = [
        name
        for name, settings in present.items()
        if settings.get(_DURABILITY, "").lower() == "async"
    ]
    for path in indices.paths(delayed):
        # Their checkpoints follow only then.
        source.indices.flush(index=path)
    return list(present)


def leave_blocks(journal: Journal, source: OpenSearch, domain: str) -> None:
    """Leaves the blocks that are there before a first freeze: somebody else has set them.

    Args:
        journal: of the migration, in which `note_blocks` has noted none for these indices.
        source: the domain.
        domain: its name.
    """
    noted = journal.open_changes({WRITE_BLOCK}, side_of(domain))
    present = _settings(source, [change.place.key for change in noted])
    blocked = [name for name, settings in present.items() if _block(settings) == _BLOCKED]
    journal.leave({_place(domain, name): _BLOCKED for name in blocked})


def taking_writes(source: OpenSearch, names: Sequence[str]) -> list[str]:
    """Those of some indices that aren't blocked."""
    present = _settings(source, names)
    return [name for name, settings in present.items() if _block(settings) != _BLOCKED]


def let_go(
    journal: Journal, source: OpenSearch, domain: str, names: Collection[str] | None = None
) -> None:
    """Gives the blocks back before the end: what was noted stays, for another freeze.

    Args:
        journal: of the migration.
        source: the domain.
        domain: its name.
        names: the indices; all that the migration has blocked if None.
    """
    before = {
        change.place.key: change.before
        for change in journal.open_changes({WRITE_BLOCK}, side_of(domain))
        if names is None or change.place.key in names
    }
    if before:
        blocks = WriteBlocks(source, ",".join(before))
        blocks.write(
            {name: before[name] for name, block in blocks.read().items() if block == _BLOCKED}
        )


def foresee_blocks(domain: str, names: Sequence[str]) -> list[Place]:
    """What `freeze` will change."""
    return [_place(domain, name) for name in names]


def _place(domain: str, name: str) -> Place:
    return Place(side_of(domain), WRITE_BLOCK, name)


def _block(settings: Mapping[str, str]) -> str | None:
    return settings.get(_SETTING)


def _settings(cluster: OpenSearch, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The settings of each index that is there, flat."""
    return indices.settings(cluster, names, ignore_unavailable="true")


def _is_refusal(error: SnapferryError) -> bool:
    """Whether a cluster has answered that it doesn't want to, which may be for one index."""
    cause = error.__cause__
    return isinstance(cause, TransportError) and cause.status_code in _REFUSALS


def _block_and_wait(cluster: OpenSearch, path: str) -> None:
    """Blocks writes, once all that run have ended; it may be repeated."""
    _require_acknowledged(cluster.transport.perform_request("PUT", f"/{path}/_block/write"))


def _require_acknowledged(answer: Mapping[str, Any]) -> None:
    """Makes sure that all nodes know of a block; beside a shard's recovery they may not yet."""
    if not answer["acknowledged"]:
        raise Unavailable(f"writes that began before the block may still run: {answer}")


def _wait_for_writes(source: OpenSearch, leave_at: float, sleep: Callable[[float], None]) -> None:
    """Waits until the writes have ended that may have passed before the block.

    Those are the ones that run at the first look. What begins later has met the block; where it
    writes to other indices, there may always be some. Of a reindexing and its like, which may run
    for hours, each request counts by itself.
    """
    params = {"actions": "indices:data/write/*", "group_by": "none"}
    passed = None
    while True:
        answer = source.tasks.list(params=params)
        # A node that doesn't answer may have some.
        if "node_failures" not in answer:
            running = {
                (task["node"], task["id"])
                for task in answer["tasks"]
                if not task["action"].endswith(("/reindex", "/byquery"))
            }
            passed = running if passed is None else passed & running
            if not passed:
                return
        if time.monotonic() >= leave_at:
            raise Unavailable("writes that began before the block may still run at the source")
        sleep(_LOOK_EVERY_SECONDS)
