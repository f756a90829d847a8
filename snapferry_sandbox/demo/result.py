"""The outcome of a demo: `.sandbox/result.json`, and a summary for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from snapferry_sandbox.demo.comparison import Comparison
from snapferry_sandbox.demo.operator import WriteStop
from snapferry_sandbox.world import SANDBOX, write_atomically

FILE = SANDBOX / "result.json"
PAGE = SANDBOX / "report.html"
"""What the migration wrote about itself."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Documents(_Model):
    """Number of documents on both sides, before the writer went on at the destination."""

    source: int
    destination: int


class Round(_Model):
    """One snapshot and its restore.

    `bytes_new` were copied by the restore, `bytes_reused` didn't have to be. The write stop is the
    one that followed it; None where another round did.
    """

    round: int
    final: bool
    snapshot_seconds: float
    restore_seconds: float
    snapshot_bytes_new: int
    snapshot_bytes_reused: int
    bytes_new: int
    bytes_reused: int
    predicted_write_stop_seconds: float | None
    write_stop_seconds: float | None


class CatchUp(_Model):
    """Rounds of catching up: one before the gate, all of those beside it, or the last one."""

    phase: str
    rounds: int
    documents: int
    deletes: int
    seconds: float
    lag: int
    """Operations of the source that were left to be copied."""


class Step(_Model):
    """A step of the write stop."""

    step: str
    call_seconds: float
    """What passed before its work began, since the end of the step before."""
    seconds: float


class Verification(_Model):
    """How one index came out, document by document."""

    status: str
    source_documents: int
    destination_documents: int
    ledger_entries: int
    differences: int
    examples: list[str]


class Result(_Model):
    """All that `.sandbox/result.json` holds."""

    status: str
    migration_id: str
    indices: int
    documents: Documents
    primary_store_bytes: int
    rounds: list[Round]
    catch_up: list[CatchUp]
    predicted_write_stop_seconds: float | None
    predicted_write_stop_interval_seconds: tuple[float, float] | None
    write_stop_seconds: float
    write_stop_steps: list[Step]
    gate_wait_seconds: float
    writes: Documents
    """Operations that the writer had accepted on each side."""
    total_seconds: float
    phase_seconds: dict[str, float]
    state_transitions: int
    verification: dict[str, Verification]
    by_snapshot: dict[str, str]
    """Indices that weren't caught up, as all can be, and why."""
    leftovers: list[str]

    def save(self) -> None:
        """Write `.sandbox/result.json`."""
        write_atomically(FILE, self.model_dump_json(indent=2) + "\n")

    def show(self, console: Console) -> None:
        """Print the summary."""
        table = Table("Index", box=None, pad_edge=False)
        for heading in ("Source", "Destination", "Written to meanwhile", "Differences"):
            table.add_column(heading, justify="right")
        for name, index in self.verification.items():
            table.add_row(
                name,
                f"{index.source_documents:,}",
                f"{index.destination_documents:,}",
                f"{index.ledger_entries:,}",
                f"{index.differences:,}",
            )
        console.print(table)
        for line in self._lines():
            console.print(line, highlight=False)

    def _prediction(self) -> str:
        if self.predicted_write_stop_interval_seconds is None:
            return "nothing"
        low, high = self.predicted_write_stop_interval_seconds
        return f"{self.predicted_write_stop_seconds} s, {low} to {high} s"

    def _lines(self) -> Iterator[str]:
        for round_ in self.rounds:
            yield (
                f"Round {round_.round}: snapshot {round_.snapshot_seconds:.1f} s, restore "
                f"{round_.restore_seconds:.1f} s, {decimal(round_.bytes_new)} copied, "
                f"{decimal(round_.bytes_reused)} reused"
            )
        for each in self.catch_up:
            yield (
                f"Caught up ({each.phase}, rounds: {each.rounds}): {each.documents:,} documents "
                f"and {each.deletes:,} deletes in {each.seconds:.1f} s"
            )
        yield (
            f"Writes stopped for {self.write_stop_seconds:.1f} s (predicted: "
            f"{self._prediction()}), and {self.gate_wait_seconds:.1f} s more for "
            "people's answers"
        )
        for step in self.write_stop_steps:
            yield (
                f"  {step.step.replace('_', ' ')}: {step.seconds:.2f} s, after "
                f"{step.call_seconds:.2f} s until it was called"
            )
        yield f"{self.state_transitions} state transitions, {self.total_seconds:.0f} s in all"
        for name, index in self.verification.items():
            for example in index.examples:
                yield f"[red]{name}: {example}[/red]"
        for name, reason in self.by_snapshot.items():
            yield f"[red]{name} went by a last snapshot: {reason}[/red]"
        for leftover in self.leftovers:
            yield f"[red]Left over: {leftover}[/red]"


def summarize(
    migration_id: str,
    report: Mapping[str, Any],
    comparisons: Mapping[str, Comparison],
    write_stop: WriteStop,
    writes: Documents,
    state_transitions: int,
    leftovers: Sequence[str],
    phase_seconds: Mapping[str, float],
    total_seconds: float,
) -> Result:
    """Put together what was found out.

    Args:
        migration_id: of the migration.
        report: what the migration wrote about itself.
        comparisons: how each index came out.
        write_stop: as the writer saw it.
        writes: operations that each side accepted.
        state_transitions: number of states entered.
        leftovers: what differs from before, the data aside.
        phase_seconds: how long each part of the demo took.
        total_seconds: how long all of it took.
    """
    (domain,) = report["domains"]
    verification = {
        name: Verification(
            status="FAILED" if found.differences else "SUCCEEDED",
            source_documents=found.source_documents,
            destination_documents=found.destination_documents,
            ledger_entries=found.ledger_entries,
            differences=found.differences,
            examples=found.examples,
        )
        for name, found in comparisons.items()
    }
    verified = all(index.differences == 0 for index in verification.values())
    by_snapshot = domain["catch_up"]["by_snapshot"]
    predicted_seconds = domain["write_stop"]["predicted_seconds"]
    write_stop_seconds = round(write_stop.seconds, 3)
    last_round = domain["rounds"][-1]["round"]
    return Result(
        status="SUCCEEDED" if verified and not by_snapshot and not leftovers else "FAILED",
        migration_id=migration_id,
        indices=len(verification),
        documents=Documents(
            source=sum(index.source_documents for index in verification.values()),
            destination=sum(index.destination_documents for index in verification.values()),
        ),
        primary_store_bytes=domain["primary_store_bytes"],
        rounds=[
            Round(
                round=each["round"],
                final=each["final"],
                snapshot_seconds=each["snapshot"]["seconds"],
                restore_seconds=each["restore"]["seconds"],
                snapshot_bytes_new=each["snapshot"]["bytes_new"],
                snapshot_bytes_reused=each["snapshot"]["bytes_reused"],
                bytes_new=each["restore"]["bytes_new"],
                bytes_reused=each["restore"]["bytes_reused"],
                predicted_write_stop_seconds=(
                    predicted_seconds if each["round"] == last_round else None
                ),
                write_stop_seconds=write_stop_seconds if each["round"] == last_round else None,
            )
            for each in domain["rounds"]
        ],
        catch_up=[
            CatchUp(**{name: each[name] for name in CatchUp.model_fields})
            for each in domain["catch_up"]["rounds"]
        ],
        predicted_write_stop_seconds=predicted_seconds,
        predicted_write_stop_interval_seconds=domain["write_stop"]["predicted_interval_seconds"],
        write_stop_seconds=write_stop_seconds,
        write_stop_steps=[Step(**step) for step in domain["catch_up"]["write_stop_steps"]],
        gate_wait_seconds=round(write_stop.gate_wait_seconds, 3),
        writes=writes,
        total_seconds=round(total_seconds, 1),
        phase_seconds={name: round(seconds, 1) for name, seconds in phase_seconds.items()},
        state_transitions=state_transitions,
        verification=verification,
        by_snapshot=by_snapshot,
        leftovers=list(leftovers),
    )
