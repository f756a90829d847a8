"""What a snapshot surely holds, noted before it is started."""

import contextlib

from opensearchpy import OpenSearch

from snapferry import catchup, indices
from snapferry.cutover.stop_mark import StopMark
from snapferry.engines import Engine
from snapferry.errors import AccessDenied, RequestRefused
from snapferry.records import Records
from snapferry.request import DomainJob

_CHECKPOINT_SECONDS = 60


def keep_base(
    source: OpenSearch, records: Records, job: DomainJob, round_number: int, names: list[str]
) -> None:
    """Notes what a snapshot surely holds, if what was written afterwards matters.

    It does for a snapshot that catching up may begin with, without which an index goes by a last
    one; and for the last one, while writes are stopped.

    Args:
        source: the domain.
        records: of the migration.
        job: whose snapshot.
        round_number: of the snapshot that is about to be started.
        names: the indices in it.
    """
    is_last = StopMark(records, job.domain.name).look()
    matters = is_last or (job.cutover.catch_up and not Engine.of(source).needs_types)
    if not matters:
        return
    # Some services don't let everybody look.
    with contextlib.suppress(AccessDenied, RequestRefused):
        if is_last:
            # The checkpoint of an index with asynchronous durability follows only then.
            for path in indices.paths(names):
                source.indices.flush(index=path)
            catchup.settle(source, names, _CHECKPOINT_SECONDS)
        catchup.keep_base(
            source, records, job.domain.name, names, round_number, _CHECKPOINT_SECONDS
        )
