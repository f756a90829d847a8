"""How far a domain is, in the form that people and the state machines look at."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any, Self

from snapferry import metrics, rounds
from snapferry.events import Bus
from snapferry.polling import next_wait_seconds
from snapferry.records import Records

RECORDS = "progress#"
"""What the records of domains' progress in the table begin with; their names follow."""

_METRICS: Mapping[str, tuple[str, str, str]] = {
    "snapshot": ("SnapshotBytes", "SnapshotBytesReused", "SnapshotBytesPerSecond"),
    "restore": ("RestoreBytes", "RestoreBytesReused", "RestoreBytesPerSecond"),
}


def show(records: Records, domain: str, phase: str, *, ended: bool, **look: Any) -> None:
    """Shows how far a domain is, in place of what was shown before.

    Args:
        records: of the migration.
        domain: its name.
        phase: what it is at.
        ended: whether that has come to its end.
        look: plain JSON, by name.
    """
    records.put(f"{RECORDS}{domain}", phase=phase, ended=ended, **look)


@dataclass(frozen=True)
class Progress:
    """A look at a snapshot or a restore.

    Attributes:
        phase: `snapshot` or `restore`.
        ended: whether it has come to its end, successfully.
        elapsed_seconds: since its start.
        bytes_done: copied so far; what was there already isn't counted.
        bytes_total: to be copied in all.
        bytes_reused: what didn't have to be copied.
        files_done: of `files_total`.
        files_total: files to be copied.
        shards_done: of `shards_total`.
        shards_total: shards that take part.
    """

    phase: str
    ended: bool
    elapsed_seconds: float
    bytes_done: int
    bytes_total: int
    bytes_reused: int
    files_done: int
    files_total: int
    shards_done: int
    shards_total: int

    @classmethod
    def shown(cls, records: Records, domain: str, phase: str, round_number: int) -> Self | None:
        """What the last look has shown, in whole seconds; None where that was at something else."""
        item = records.item(f"{RECORDS}{domain}")
        if item is None or (item["phase"], item.get("round")) != (phase, round_number):
            return None
        look: dict[str, Any] = {
            each.name: int(value) if isinstance(value := item[each.name], Decimal) else value
            for each in fields(cls)
        }
        return cls(**look)

    def report(self, records: Records, bus: Bus, domain: str, round_number: int) -> dict[str, Any]:
        """Shows the look in the table and gives it back for the state machine.

        The last one is noted for the report as well, and told on the bus.

        Returns:
            Every attribute, `wait_seconds` until the next look, `bytes_per_second`, and
            `remaining_seconds` (None while nothing was copied).
        """
        rate = self.bytes_done / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0
        look = asdict(self) | {
            "round": round_number,
            "bytes_per_second": round(rate),
            "remaining_seconds": (
                round((self.bytes_total - self.bytes_done) / rate) if rate else None
            ),
        }
        show(records, domain, **look)
        copied, reused, copied_per_second = _METRICS[self.phase]
        whose = {"migration_id": records.migration_id, "domain": domain}
        if rate:
            metrics.emit({copied_per_second: rate}, **whose)
        if self.ended:
            metrics.emit({copied: self.bytes_total, reused: self.bytes_reused}, **whose)
            rounds.note(records, domain, round_number, **{self.phase: self._outcome()})
            bus.tell(
                "SnapshotCompleted" if self.phase == "snapshot" else "RoundCompleted",
                records.migration_id,
                domain=domain,
                round=round_number,
                **self._outcome(),
            )
        wait_seconds = next_wait_seconds(self.elapsed_seconds, self.bytes_done, self.bytes_total)
        return look | {"wait_seconds": wait_seconds}

    def _outcome(self) -> dict[str, Any]:
        return {
            "ended_at": round(time.time(), 3),
            "seconds": self.elapsed_seconds,
            "bytes_new": self.bytes_total,
            "bytes_reused": self.bytes_reused,
            "files": self.files_total,
            "shards": self.shards_total,
        }
