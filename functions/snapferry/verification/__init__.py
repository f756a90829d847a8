"""Whether the copy is right: shards, health and counts; structure; and every document.

In the order of a migration:

    run            before the writes stop, of what a restore has brought and nobody changes
    prove          while writes are stopped, quickly: structure, health, every document counted;
                   notes up to which operations the documents are to be compared afterwards
    run            after the clients were moved, of the rest: clients write on, so the documents are
                   compared as they were at the cut-over
"""

from snapferry.verification.copy import Verdict, prove, raise_faults, verify
from snapferry.verification.documents import Verification, outcome, run
from snapferry.verification.ends import keep_ends
from snapferry.verification.slices import MOMENTS, Moment

__all__ = [
    "MOMENTS",
    "Moment",
    "Verdict",
    "Verification",
    "keep_ends",
    "outcome",
    "prove",
    "raise_faults",
    "run",
    "verify",
]
