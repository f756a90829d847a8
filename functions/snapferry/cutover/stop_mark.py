"""The mark by which functions that run side by side learn that writes are stopped."""

import time

from snapferry.records import Records

LOOK_EVERY_SECONDS = 0.2
"""How old an answer may be for those who ask often."""


class StopMark:
    """Says that writes are to be stopped now, so that the round which runs beside that ends.

    Args:
        records: where it is.
        domain: whose writes.

    Attributes:
        set_at: when it was set, in seconds of the epoch, as it was seen last; None if it wasn't.
    """

    def __init__(self, records: Records, domain: str) -> None:
        self._records = records
        self._name = f"stop#{domain}"
        self._looked_at = 0.0
        self._is_set = False
        self.set_at: float | None = None

    def set(self) -> None:
        """From here on no round begins beside the write stop."""
        self.set_at = time.time()
        self._records.put(self._name, set_at=self.set_at)

    def clear(self) -> None:
        """Writes go on: rounds may begin beside the next write stop."""
        self._records.remove(self._name)

    def look(self) -> bool:
        """Whether it is set."""
        item = self._records.item(self._name)
        self._is_set = item is not None
        self.set_at = float(item["set_at"]) if item else None
        # Only now: others who ask meanwhile look for themselves, and don't take the old answer.
        self._looked_at = time.monotonic()
        return self._is_set

    def is_set(self) -> bool:
        """Whether it was a moment ago, for those who ask often."""
        if time.monotonic() - self._looked_at >= LOOK_EVERY_SECONDS:
            return self.look()
        return self._is_set
