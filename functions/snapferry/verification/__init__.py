"""Whether the copy is right: shards, health and counts; structure; and every document.

In the order of a migration:

    run                 before the writes stop, of what a restore has brought and nobody changes
    replicas_are_built  before people are asked to stop writes, for `prove` waits for them
    prove               while writes are stopped, quickly: structure, health, every document
                        counted; notes up to which operations documents are to be compared later
    run                 after the clients were moved, of the rest: clients write on, so the
                        documents are compared as they were at the cut-over
"""

from snapferry.verification.copy import (
    Verdict,
    keep_verdicts,
    kept_verdicts,
    prove,
    raise_faults,
    replicas_are_built,
    verify,
)
from snapferry.verification.documents import Verification, outcome, run
from snapferry.verification.ends import keep_ends
from snapferry.verification.slices import MOMENTS, Moment

__all__ = [
    "MOMENTS",
    "Moment",
    "Verdict",
    "Verification",
    "keep_ends",
    "keep_verdicts",
    "kept_verdicts",
    "outcome",
    "prove",
    "raise_faults",
    "replicas_are_built",
    "run",
    "verify",
]
