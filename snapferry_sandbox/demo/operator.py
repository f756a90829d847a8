"""The people of the migration: they stop their clients, point them elsewhere, and say so."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import time

from opensearchpy import OpenSearch

from snapferry_cli.migration import Gate, Migration
from snapferry_sandbox.demo.writer import Ledger, Writer
from snapferry_sandbox.errors import SandboxError


@dataclass(frozen=True)
class AnsweredGate:
    """How long a gate waited for people.

    Attributes:
        gate: `plan`, `stop_writes` or `clients_moved`.
        announced_at: in seconds of the epoch.
        answered_at: in seconds of the epoch.
    """

    gate: str
    announced_at: float
    answered_at: float


@dataclass(frozen=True)
class WriteStop:
    """How long nobody could write.

    Attributes:
        seconds: from the last write that the source accepted to the first that the destination
            accepted, without `gate_wait_seconds`.
        gate_wait_seconds: what of that time people took for their answers.
    """

    seconds: float
    gate_wait_seconds: float


@dataclass
class Operator:
    """Answers the gates of a migration, with a writer as the client.

    Attributes:
        writer: the client, which writes to the source.
        source_ledger: what the source has accepted of it.
        destination: where it goes on.
        report: takes lines that say what was done.
        destination_ledger: what the destination has accepted; None before it goes on there.
        answered: the gates so far.
    """

    writer: Writer
    source_ledger: Ledger
    destination: OpenSearch
    report: Callable[[str], None]
    destination_ledger: Ledger | None = None
    answered: list[AnsweredGate] = field(default_factory=list)

    def answer_gates(self, migration: Migration, gates: Iterable[Gate]) -> None:
        """Do what open gates ask for, and answer them."""
        for gate in gates:
            match gate.name:
                case "plan":
                    what = gate.prompt.partition(" Look at it")[0]
                case "stop_writes":
                    self.writer.stop()
                    what = f"the client stopped after {self.source_ledger.accepted:,} writes"
                case "clients_moved":
                    self.destination_ledger = self.writer.start(self.destination)
                    what = "the client writes to the destination"
                case unknown:
                    raise SandboxError(f"The migration waits at the gate {unknown}: unknown here.")
            migration.approve(gate, by="demo")
            self.answered.append(AnsweredGate(gate.name, gate.announced_at, time()))
            self.report(f"Gate {gate.name}: {what}")

    def ledgers(self) -> tuple[Ledger, Ledger]:
        """What the source and the destination have accepted.

        Raises:
            SandboxError: nobody asked for the clients to be moved.
        """
        if self.destination_ledger is None:
            raise SandboxError("The migration ended without asking for the clients to be moved.")
        return self.source_ledger, self.destination_ledger


def measure_write_stop(
    source_ledger: Ledger, destination_ledger: Ledger, gates: Iterable[AnsweredGate]
) -> WriteStop:
    """Measure the write stop as the client saw it.

    Args:
        source_ledger: what the source has accepted.
        destination_ledger: what the destination has accepted.
        gates: only what of their waiting lies inside the write stop counts as such.

    Raises:
        SandboxError: a side accepted nothing.
    """
    stopped_at = source_ledger.last_accepted_at
    resumed_at = destination_ledger.first_accepted_at
    if stopped_at is None or resumed_at is None:
        raise SandboxError("The writer's operations weren't accepted by both sides.")
    waited = sum(
        max(0.0, min(gate.answered_at, resumed_at) - max(gate.announced_at, stopped_at))
        for gate in gates
    )
    return WriteStop(resumed_at - stopped_at - waited, waited)
