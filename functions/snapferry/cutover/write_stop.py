"""What is known of write stops: their steps, why some were given up, what came late."""

import time
from datetime import datetime
from typing import Any

from snapferry.prediction import Tally
from snapferry.records import Records
from snapferry.ways import Ways

SLICES = "catch_up_slices"
"""The step of slices, where there are several."""
STEPS = ("freeze_source", SLICES, "catch_up_last", "hand_over_indices", "move_aliases")
"""The steps that follow each other while writes are stopped, each of them a call."""


def note_step(
    records: Records, domain: str, step: str, entered_at: str, began_at: float, **more: Any
) -> None:
    """Notes how long a step took, and `more` of it.

    Args:
        records: of the migration.
        domain: whose step.
        step: its name.
        entered_at: when its state was entered, as ISO 8601.
        began_at: when its work began, in seconds of the epoch.
        more: its `answer`.
    """
    times = {"entered_at": epoch(entered_at), "began_at": began_at, "ended_at": time.time()}
    records.put(_step(domain, step), **times, **more)


def forget_steps(records: Records, domain: str) -> None:
    """Forgets the steps of a write stop that was given up."""
    for step in STEPS:
        records.remove(_step(domain, step))


def steps(records: Records, domain: str) -> list[dict[str, Any]]:
    """What the write stop was spent on, in its order.

    Returns:
        Of each `step` the `seconds` of its work and its `call_seconds`: what passed between the
        step before, or the answer of the gate, and its work.
    """
    found = []
    before = None
    for step in STEPS:
        if item := records.item(_step(domain, step)):
            entered, began, ended = (
                float(item[name]) for name in ("entered_at", "began_at", "ended_at")
            )
            found.append(
                {
                    "step": step,
                    "call_seconds": round(began - (before or entered), 3),
                    "seconds": round(ended - began, 3),
                }
            )
            before = ended
    return found


def frozen(records: Records, domain: str) -> dict[str, Any] | None:
    """What `freeze_source` has answered; None where it hasn't."""
    item = records.item(_step(domain, "freeze_source"))
    return dict(item["answer"]) if item else None


def learn(records: Records, domain: str) -> None:
    """Keeps how long a write stop that has ended was, for the predictions of later ones."""
    tally = Tally.of(records, domain)
    passed = steps(records, domain)
    ended = {step["step"] for step in passed} >= set(STEPS) - {SLICES}
    if tally and ended:
        seconds = sum(step["call_seconds"] + step["seconds"] for step in passed)
        tally.learn(records, seconds - passed[0]["call_seconds"])


def give_up(records: Records, domain: str, round_number: int, reason: str) -> int:
    """Notes why a write stop was given up.

    Args:
        records: of the migration.
        domain: whose.
        round_number: of the round that was to be the last.
        reason: in words.

    Returns:
        How many were by now.
    """
    reasons = _given_up(records, domain) | {str(round_number): reason}
    records.write(_given_up_name(domain), reasons)
    return len(reasons)


def given_up(records: Records, domain: str) -> list[str]:
    """Why write stops were given up, in words; the last one comes last."""
    return list(_given_up(records, domain).values())


def note_late(records: Records, domain: str, names: set[str]) -> int:
    """Notes what clients have made or written to at the source since the hand-over.

    Returns:
        How many of the names weren't noted before.
    """
    before = set(late(records, domain))
    records.write(_late_name(domain), sorted(before | names))
    return len(names - before)


def late(records: Records, domain: str) -> list[str]:
    """The names of what clients have made or written to at the source since the hand-over."""
    names: list[str] = records.read(_late_name(domain), default=[])
    return names


def outcome(records: Records, domain: str) -> dict[str, Any]:
    """What the report says of the tail: the way of each index, the rounds, the prediction."""
    ways, tally = Ways.of(records, domain), Tally.of(records, domain)
    return {
        "caught_up": ways.caught_up,
        "by_snapshot": ways.by_snapshot,
        "rounds": tally.rounds if tally else [],
        "write_stop_steps": steps(records, domain),
        "write_stops_given_up": given_up(records, domain),
        "late_indices": late(records, domain),
    }


def epoch(moment: str) -> float:
    """A moment as ISO 8601, in seconds of the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def _step(domain: str, step: str) -> str:
    return f"step#{domain}#{step}"


def _given_up(records: Records, domain: str) -> dict[str, str]:
    """Why, by the number of the round that was to be the last."""
    return dict(records.read(_given_up_name(domain), default={}))


def _given_up_name(domain: str) -> str:
    return f"{domain}/write-stops-given-up"


def _late_name(domain: str) -> str:
    return f"{domain}/late-indices"
