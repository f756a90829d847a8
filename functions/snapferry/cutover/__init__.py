"""The cut-over: which indices are caught up, how long writes will stop, and the stop itself.

Catching up goes on from the last restore until the writes have stopped, so that what is left then
is the writing of the last seconds. An index that can't be caught up is copied by a last snapshot.

    keep_base       before a snapshot is started
    CutOver         takes each step, from weighing another round to looking for what came late
    catch_up        runs the rounds of a slice between the steps, beside the gate, and the last one
    let_sources_go  where the migration is rolled back
    learn           from a write stop that has ended
    outcome         for the report
"""

from snapferry.cutover.base import keep_base
from snapferry.cutover.slices import Until, catch_up
from snapferry.cutover.steps import CutOver, Step, let_sources_go
from snapferry.cutover.stop_mark import StopMark
from snapferry.cutover.write_stop import given_up, late, learn, outcome

__all__ = [
    "CutOver",
    "Step",
    "StopMark",
    "Until",
    "catch_up",
    "given_up",
    "keep_base",
    "late",
    "learn",
    "let_sources_go",
    "outcome",
]
