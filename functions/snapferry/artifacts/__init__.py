"""Artifacts: what a cluster needs besides its indices, such as templates, pipelines and roles.

They are read at the source, planned, and written to the destination, each with a verdict:

- `create`: it is the migration's, until the indices are handed over
- `same`: the destination has it already
- `conflict`: the destination has another one of this name, which stays
- `cannot`: it can't be written, for the reason that is given

`kinds` is the table of them, `translation` what they are called by another engine, `saved_objects`
what Dashboards has, `copying` the copying. Aliases aren't among them: they move at the cut-over.
"""

from snapferry.artifacts.copying import (
    CHANGEABLES,
    OWNERS,
    Side,
    copy,
    foresee,
    hand_over,
    leave_handed_over,
    verdicts,
)
from snapferry.artifacts.saved_objects import Dashboards
from snapferry.artifacts.users import Vault

__all__ = [
    "CHANGEABLES",
    "OWNERS",
    "Dashboards",
    "Side",
    "Vault",
    "copy",
    "foresee",
    "hand_over",
    "leave_handed_over",
    "verdicts",
]
