"""`snapferry approve`: answers the gates at which a migration waits."""

import argparse
from collections.abc import Sequence

from snapferry.errors import InvalidInput, NotFound
from snapferry_cli import watch
from snapferry_cli.migration import Gate, timestamp
from snapferry_cli.output import Output
from snapferry_cli.stack import Stack


def run(options: argparse.Namespace, stack: Stack, output: Output) -> int:
    """Answers open gates.

    Raises:
        NotFound: no such gate is open.
        InvalidInput: it isn't clear which one is meant.
        Conflict: another answer came first.
    """
    migration = stack.migration(options.migration_id)
    runs = migration.status() == "RUNNING"
    gates = migration.gates() if runs else []
    wanted = [
        gate
        for gate in gates
        if options.gate in (None, gate.name) and options.domain in (None, gate.domain)
    ]
    open_gates = [gate for gate in wanted if gate.is_open]
    if not open_gates:
        others = [gate for gate in gates if gate.is_open]
        raise NotFound(_explain_absence(options.migration_id, wanted, others, runs=runs))
    if options.yes and options.gate is None and len(open_gates) > 1:
        raise InvalidInput(
            f"--yes answers several gates only by name: open are {_named(open_gates)}"
        )
    by = stack.caller_arn()
    # An empty reason is none to approve.
    is_rejected = options.reject is not None
    verb, answer = ("Reject", "rejected") if is_rejected else ("Approve", "approved")
    answered = []
    for gate in open_gates:
        output.say(watch.describe(gate, stack, options.migration_id))
        if not output.confirm(f"{verb} {gate.name} of {gate.domain}?", yes=options.yes):
            continue
        if is_rejected:
            migration.reject(gate, by, options.reject)
        else:
            migration.approve(gate, by)
        answered.append({"gate": gate.name, "domain": gate.domain})
        output.say(f"{gate.name} of {gate.domain}: {answer} as {by}")
    output.give(
        {
            "migration_id": options.migration_id,
            "answer": answer,
            "by": by,
            "gates": answered,
        }
    )
    return 0 if answered else 1


def _named(gates: Sequence[Gate]) -> str:
    return ", ".join(f"{gate.name} of {gate.domain}" for gate in gates)


def _explain_absence(
    migration_id: str, gates: Sequence[Gate], others: Sequence[Gate], *, runs: bool
) -> str:
    """Says why none of these gates can be answered, and which others can."""
    if not runs:
        return f"the migration {migration_id} has ended: no gate of it waits for an answer"
    reasons = []
    for gate in gates:
        if gate.state == "open":
            reason = f"its time ran out at {timestamp(gate.deadline)}"
        else:
            reason = f"{gate.answered_by} answered it at {timestamp(gate.answered_at or 0)}"
        reasons.append(f"{gate.name} of {gate.domain}: {reason}")
    if others:
        reasons.append(f"open are {_named(others)}")
    return "no such gate is open" + (f"; {'; '.join(reasons)}" if reasons else " yet")
