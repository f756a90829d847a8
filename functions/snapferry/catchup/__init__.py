"""The tail: what was written since a snapshot, copied by sequence number.

A restored shard holds each document under the sequence number that it has at the source. So the
source can be asked for exactly what the snapshot lacks, and writes stop for seconds whatever the
size of the data is. In the order of a migration:

    qualify        which indices can't be caught up, and why; `foresee` says most of it beforehand
    keep_base      before a snapshot is requested; `written_since` says what it lacks
    begin          when it was restored; with `tune` and `note_blocks`
    run_round      again and again, while clients write
    bring_mappings of those that nothing is written to, too, before people are asked
    bring_settings that clients have changed meanwhile
    freeze         stops the writes, after `leave_blocks`; `let_go` where a snapshot is needed
    connect        beside that, so that the last round finds its connections open
    refresh        beside that, too, so that it has little left to make searchable
    run_last_round copies what is left, and proves that both sides are equal
    written_to     proves once more that nothing writes, just before there is no way back
    give_back      the settings of before
"""

from snapferry.catchup.base import keep_base
from snapferry.catchup.freeze import (
    CHANGEABLES,
    WRITE_BLOCK,
    foresee_blocks,
    freeze,
    leave_blocks,
    let_go,
    note_blocks,
    taking_writes,
)
from snapferry.catchup.mappings import bring_mappings
from snapferry.catchup.qualification import foresee, qualify
from snapferry.catchup.rounds import (
    Round,
    begin,
    connect,
    run_last_round,
    run_round,
    settle,
    written_since,
    written_to,
)
from snapferry.catchup.side import refresh
from snapferry.catchup.tail import IndexRound
from snapferry.catchup.tuning import bring_settings, give_back, tune

__all__ = [
    "CHANGEABLES",
    "WRITE_BLOCK",
    "IndexRound",
    "Round",
    "begin",
    "bring_mappings",
    "bring_settings",
    "connect",
    "foresee",
    "foresee_blocks",
    "freeze",
    "give_back",
    "keep_base",
    "leave_blocks",
    "let_go",
    "note_blocks",
    "qualify",
    "refresh",
    "run_last_round",
    "run_round",
    "settle",
    "taking_writes",
    "tune",
    "written_since",
    "written_to",
]
