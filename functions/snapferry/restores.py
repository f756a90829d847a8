"""Restores at the destination: over closed indices of its own, until every shard is active."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.errors import (
    AccessDenied,
    Conflict,
    NotFound,
    RequestRefused,
    RestoreFailed,
    Unavailable,
)
from snapferry.indices import Index
from snapferry.ownership import Ownership
from snapferry.progress import Progress
from snapferry.request import DomainJob

_LOOK_EVERY_SECONDS = 0.25
# The cluster makes the indices when it takes the request; another node may tell it later.
_GONE_AFTER_SECONDS = 60
# A shard that can't be placed for so long needs a person.
_STALLED_AFTER_SECONDS = 900
_BLOCKS = (
    "index.blocks.metadata",
    "index.blocks.read_only",
    "index.blocks.read_only_allow_delete",
)


def start(
    destination: OpenSearch,
    ownership: Ownership,
    job: DomainJob,
    round_number: int,
    selected: Sequence[Index],
    names: Collection[str],
) -> None:
    """Starts to restore a round's snapshot.

    Indices that were restored before are closed first: a restore over a closed index copies
    only the files that differ. One whose shard count has changed meanwhile, or that went at the
    source while it was moved, is deleted: it is the migrations' own. One that an earlier migration
    left and that isn't moved any more may be in use by now: it stays, and is nobody's to delete.

    Args:
        destination: the cluster that takes the indices.
        ownership: which indices there may be restored over.
        job: whose snapshot.
        round_number: of the round whose snapshot is restored.
        selected: the indices that the round moves.
        names: those of them that are in the snapshot; the others are there already.

    Raises:
        Conflict: where an index stands in the way that isn't the migrations'.
        SnapshotInProgress: an earlier restore, or a snapshot of the destination, holds one of
            them; try again later.
        Unavailable: an earlier attempt's request may be at work, which doesn't show yet; likewise.
    """
    present = indices.list_all(destination)
    if not started_before(destination, job, round_number, present.keys() & set(names)):
        _refuse_unseen(destination, ownership, present)
        owned = ownership.find(destination, present)
        indices.refuse_strangers(selected, present, owned)
        if round_number == 1:
            # All that this migration will ever delete are indices that it has moved itself.
            owned -= left_behind(owned, job, selected)
        kept = remove_outdated(
            destination, {name: present[name] for name in sorted(owned)}, job, selected
        )
        for path in indices.paths(
            name for name, index in kept.items() if name in names and index.open
        ):
            _despite_blocks(destination, destination.indices.close, path)
        ownership.announce(kept, names)
        try:
            restore(destination, job, round_number, names)
        except Conflict:
            # What stands in the way may be of an earlier request that was carried out only now.
            present = indices.list_all(destination)
            if not started_before(destination, job, round_number, present.keys() & set(names)):
                _refuse_unseen(destination, ownership, present)
                raise
        present = indices.list_all(destination)
    ours = ownership.of(present) | {index.name for index in selected}
    ownership.confirm({name: present[name] for name in sorted(ours & present.keys())})


def _refuse_unseen(
    destination: OpenSearch, ownership: Ownership, present: Mapping[str, Index]
) -> None:
    if unseen := ownership.unseen(destination, present):
        raise Unavailable(
            f"{indices.some(unseen)}: an earlier request may be restoring it, whose shards don't "
            "show yet. If they don't in a while, see GET _cluster/allocation/explain"
        )


def left_behind(owned: Iterable[str], job: DomainJob, selected: Iterable[Index]) -> set[str]:
    """Those indices of earlier migrations that a migration would move, if the source had them.

    Args:
        owned: the names of the migrations' own.
        job: whose indices.
        selected: those of the source that are moved.
    """
    wanted = {name for name in owned if indices.is_wanted(name, job.domain.indices)}
    return wanted - {index.name for index in selected}


def remove_outdated(
    destination: OpenSearch,
    owned: Mapping[str, Index],
    job: DomainJob,
    selected: Sequence[Index],
) -> dict[str, Index]:
    """Deletes what was restored before of indices that have other numbers of shards or are gone.

    Args:
        destination: the cluster that takes the indices.
        owned: those of its indices that are the migrations' own, by name.
        job: whose indices.
        selected: those of the source that are moved.

    Returns:
        Those of the migrations' own that are left, by name.
    """
    shards = {index.name: index.shards for index in selected}
    outdated = [name for name, index in owned.items() if _is_outdated(index, shards, job)]
    for path in indices.paths(outdated):
        _despite_blocks(destination, destination.indices.delete, path)
    return {name: index for name, index in owned.items() if name not in outdated}


def _despite_blocks(destination: OpenSearch, request: Callable[..., Any], path: str) -> None:
    """Closes or deletes indices, one of which may have brought a block along in its snapshot.

    The next restore brings it again.
    """
    try:
        request(index=path)
    except AccessDenied:
        for block in _BLOCKS:
            # Beside a block only a request with a single setting is let through.
            destination.indices.put_settings(index=path, body={block: None})
        request(index=path)


def _is_outdated(index: Index, shards: Mapping[str, int], job: DomainJob) -> bool:
    """Whether an index of an earlier round has another number of shards now, or none at all.

    What an earlier migration restored and this one leaves out isn't gone.
    """
    if index.name in shards:
        return shards[index.name] != index.shards
    return indices.is_wanted(index.name, job.domain.indices)


def restore(
    destination: OpenSearch,
    job: DomainJob,
    round_number: int,
    names: Iterable[str],
    **options: str,
) -> None:
    """Requests a restore, which goes on by itself.

    Source: https://docs.opensearch.org/latest/api-reference/snapshots/restore-snapshot/

    Args:
        destination: the cluster that takes the indices.
        job: whose snapshot.
        round_number: of the round whose snapshot is restored.
        names: the indices in it that are restored.
        options: more members of the request's body.
    """
    settings: dict[str, Any] = {}
    if job.domain.replicas is not None:
        settings["index.number_of_replicas"] = job.domain.replicas
    # The cluster has read the list of snapshots before; a look at this one renews it.
    destination.snapshot.get(repository=job.repository, snapshot=job.snapshot(round_number))
    destination.snapshot.restore(
        repository=job.repository,
        snapshot=job.snapshot(round_number),
        body={
            "indices": ",".join(names),
            "include_global_state": False,
            # Otherwise they move at the cut-over, from the source's state at that moment.
            "include_aliases": job.mode == "restore_only",
            "partial": False,
            "index_settings": settings,
            # They name nodes, zones and tiers of the source, for which shards would wait.
            "ignore_index_settings": "index.routing.allocation.*",
            **options,
        },
        params={"wait_for_completion": "false"},
    )


def check(
    destination: OpenSearch,
    selected: Sequence[Index],
    started_at: float,
    hold_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Progress:
    """Looks at a restore, at most `hold_seconds` long, until every expected shard is active.

    Health decides, shard by shard against what is expected, because a shard that failed leaves
    no trace in `_recovery`. The bytes come from there.

    Args:
        destination: the cluster that takes the indices.
        selected: the indices that are being restored.
        started_at: when the restore was started, in seconds of the epoch.
        hold_seconds: how long to stay and look again, so that an end is seen at once.
        sleep: waits between looks.

    Returns:
        How far it is.

    Raises:
        RestoreFailed: where an index is gone or a shard can't be restored, or none was placed for a
            long time.
    """
    leave_at = time.monotonic() + hold_seconds
    while inactive := _inactive_primaries(destination, selected):
        _raise_failure(destination, inactive, time.time() - started_at)
        if time.monotonic() >= leave_at:
            break
        sleep(_LOOK_EVERY_SECONDS)
    return _progress(destination, selected, time.time() - started_at, len(inactive))


def started_before(
    destination: OpenSearch, job: DomainJob, round_number: int, names: Iterable[str]
) -> bool:
    """Whether an earlier attempt got as far as the request, which takes all indices or none.

    The name of a snapshot isn't enough: every migration that restores it without its source, or
    what somebody restored by hand, has the same.
    """
    source = job.repository, job.snapshot(round_number)
    return any(source in found for found in indices.restored_from(destination, names).values())


def _inactive_primaries(
    destination: OpenSearch, selected: Iterable[Index]
) -> list[tuple[str, int]]:
    """The expected primaries, by index and number, that aren't active, missing ones included.

    Source: https://docs.opensearch.org/latest/api-reference/cluster-api/cluster-health/
    """
    answer = destination.cluster.health(
        params={"level": "shards", "filter_path": "indices.*.shards.*.primary_active"}
    )
    health = answer.get("indices", {})
    return [
        (index.name, number)
        for index in selected
        for number in range(index.shards)
        if not health.get(index.name, {})
        .get("shards", {})
        .get(str(number), {})
        .get("primary_active", False)
    ]


def _raise_failure(
    destination: OpenSearch, inactive: Sequence[tuple[str, int]], elapsed_seconds: float
) -> None:
    """Raises RestoreFailed if the first shard that isn't active will not become so.

    There is no index any more if somebody has deleted it, perhaps a policy. A shard whose restore
    failed stays unassigned under the decider `restore_in_progress`. Any other refusal to place it,
    such as a full disk, may still pass, and counts after a while.

    Source: https://docs.opensearch.org/latest/api-reference/cluster-api/cluster-allocation/
    """
    name, number = inactive[0]
    try:
        answer = destination.cluster.allocation_explain(
            body={"index": name, "shard": number, "primary": True}
        )
    except RequestRefused:
        return
    except NotFound:
        if elapsed_seconds < _GONE_AFTER_SECONDS:
            return
        raise RestoreFailed(
            f"{name}: the index has gone at the destination while it was restored. What to do: "
            "find out who deletes it, such as a policy of Index State Management whose "
            "ism_template matches it, then start the migration again."
        ) from None
    if answer.get("current_state") != "unassigned" or answer.get("can_allocate") != "no":
        return
    refusals = {
        decider["decider"]: decider["explanation"]
        for node in answer.get("node_allocation_decisions", [])
        for decider in node.get("deciders", [])
        if decider["decision"] == "NO"
    }
    if "restore_in_progress" in refusals or elapsed_seconds > _STALLED_AFTER_SECONDS:
        details = answer.get("unassigned_info", {}).get("details")
        reasons = [details, *refusals.values()] if details else refusals.values()
        raise RestoreFailed(
            f"{len(inactive)} shards can't be restored, the first is {name}[{number}]: "
            f"{'; '.join(reasons)}. What to do: remove the cause at the destination, then start "
            "the migration again."
        )


def _progress(
    destination: OpenSearch,
    selected: Sequence[Index],
    elapsed_seconds: float,
    inactive_shards: int,
) -> Progress:
    """Adds up the bytes and files of the recoveries from the snapshot.

    Source: https://docs.opensearch.org/latest/api-reference/index-apis/recover/
    """
    sizes: list[dict[str, int]] = []
    files: list[dict[str, int]] = []
    for path in indices.paths(index.name for index in selected):
        try:
            answer = destination.indices.recovery(
                index=path,
                params={"filter_path": "*.shards.type,*.shards.index.size,*.shards.index.files"},
            )
        except NotFound:  # The cluster hasn't made the indices yet.
            continue
        for index in answer.values():
            for shard in index["shards"]:
                if shard["type"] == "SNAPSHOT":
                    sizes.append(shard["index"]["size"])
                    files.append(shard["index"]["files"])
    shards_total = sum(index.shards for index in selected)
    return Progress(
        phase="restore",
        ended=not inactive_shards,
        elapsed_seconds=elapsed_seconds,
        bytes_done=sum(size["recovered_in_bytes"] for size in sizes),
        bytes_total=sum(size["total_in_bytes"] - size["reused_in_bytes"] for size in sizes),
        bytes_reused=sum(size["reused_in_bytes"] for size in sizes),
        files_done=sum(file["recovered"] for file in files),
        files_total=sum(file["total"] - file["reused"] for file in files),
        shards_done=shards_total - inactive_shards,
        shards_total=shards_total,
    )
