"""How long writes will stop, predicted from what was measured on the way there.

The write stop is made of calls of a function, of checks, of a round of catching up that finds
little, of the documents that are left for it, and of a last snapshot where an index needs one. How
much earlier write stops of the stack differed from that corrects it, and says how sure it is.
"""

import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import Any, Self

from snapferry.catchup import Round
from snapferry.records import Records
from snapferry.request import DomainJob

# By whether there was a last snapshot, which is foretold by far worse than the rest.
_EARLIER = {False: "write-stops", True: "write-stops-with-snapshot"}
_MOST_EARLIER = 20
# How far off a prediction may be at least: the load by clients alone makes as much of seconds.
_LEAST_SPREAD = 2.0
# What is assumed as long as nothing was measured: of a document, and of a call. As much as so many
# documents would tell, few of which say little: rounds take longer for other reasons, too.
_FIRST_DOCUMENT_SECONDS = 1 / 5_000
_FIRST_DOCUMENTS = 5_000
_FIRST_CALL_SECONDS = 0.1
_CALLS = 4
# How much longer the last round may become by what clients write while no round runs.
_MOST_LEFT = 0.25
_PHASES = ("snapshot", "restore")
# The item of what isn't a slice's.
_COMMON = "all"
# What a round of snapshots takes besides the copying: its calls, and the checks of both clusters.
_ROUND_SECONDS = 10


@dataclass(frozen=True)
class Prediction:
    """How long writes will stop if they stop now.

    Attributes:
        seconds: the most likely.
        low_seconds: most likely it takes at least so long,
        high_seconds: and at most so long.
        reason: what most of it is spent on, in words.
    """

    seconds: float
    low_seconds: float
    high_seconds: float
    reason: str

    @property
    def interval(self) -> list[float]:
        """The two bounds."""
        return [self.low_seconds, self.high_seconds]


@dataclass
class SliceTally:
    """What was measured of one slice: what one function catches up.

    Attributes:
        call_seconds: what the call of a function takes besides its work.
        by_snapshot: how many indices were found to need a last snapshot.
        snapshot_seconds: what their share of a last snapshot and its restore takes.
        rounds: of each round what it did; those beside a gate are one.
        rounds_before: how many of them are from before a write stop that was given up.
        shortest_seconds: of the rounds that came to their end; None before the first.
        proven_round: of the snapshot after which its last round has proven that both sides are
            equal; 0 until then.
    """

    call_seconds: float = _FIRST_CALL_SECONDS
    by_snapshot: int = 0
    snapshot_seconds: float = 0.0
    rounds: list[dict[str, Any]] = field(default_factory=list)
    rounds_before: int = 0
    shortest_seconds: float | None = None
    proven_round: int = 0

    def keep(self, records: Records, domain: str, number: int) -> None:
        """Stores it as that of the slice of this number."""
        # As text: numbers stay what they are.
        records.put(f"{_prefix(domain)}{number}", tally=json.dumps(asdict(self)))

    def add(self, phase: str, done: Round) -> None:
        """Counts a round."""
        now = time.time()
        this: dict[str, Any] = {
            "phase": phase,
            "began_at": round(now - done.seconds, 3),
            "ended_at": round(now, 3),
            "rounds": 1,
            "documents": sum(index.documents for index in done.indices),
            "bytes": sum(index.document_bytes for index in done.indices),
            "deletes": sum(index.deletes for index in done.indices),
            "seconds": round(done.seconds, 3),
            "lag": done.lag,
        }
        if all(index.sealed for index in done.indices):
            self.shortest_seconds = min(done.seconds, self.shortest_seconds or done.seconds)
        if phase == "writes stop" and self.rounds[-1:] and self.rounds[-1]["phase"] == phase:
            before = self.rounds.pop()
            this["began_at"] = before["began_at"]
            for name in ("rounds", "documents", "bytes", "deletes", "seconds"):
                this[name] += before[name]
        self.rounds.append(this)

    @property
    def converges(self) -> bool:
        """Whether the last round has left less to be copied than the one before."""
        lags = [each["lag"] for each in self.rounds[self.rounds_before :][-2:]]
        return len(lags) < 2 or lags[1] < lags[0]

    @property
    def catch_up_seconds(self) -> float:
        """How long a round takes that finds nothing, and each document that is left."""
        if not self.rounds:
            return 0.0
        return self._idle_round_seconds + int(self.rounds[-1]["lag"]) * self._document_seconds

    def seconds_until_next_round(self, done: Round) -> float:
        """How long clients may write on before another round pays.

        Args:
            done: the last one, which is counted.

        Returns:
            The time in which they write so much that a round becomes noticeably longer; endless
            where nobody writes, and 0 where the last one left something.
        """
        if not done.is_sealed:
            return 0.0
        if not done.lag:
            return math.inf
        copied_seconds = done.lag * self._document_seconds
        return done.seconds * _MOST_LEFT * self._idle_round_seconds / copied_seconds

    @property
    def _idle_round_seconds(self) -> float:
        """How long a round takes that finds nothing."""
        last = self.rounds[-1]
        return float(self.shortest_seconds or last["seconds"] / last["rounds"])

    @property
    def _document_seconds(self) -> float:
        """How long it takes to copy one document more."""
        documents = sum(each["documents"] for each in self.rounds)
        idle = sum(each["rounds"] for each in self.rounds) * self._idle_round_seconds
        spent = sum(each["seconds"] for each in self.rounds) - idle
        if not documents or spent <= 0:
            return _FIRST_DOCUMENT_SECONDS
        first_seconds = _FIRST_DOCUMENTS * _FIRST_DOCUMENT_SECONDS
        return float((spent + first_seconds) / (documents + _FIRST_DOCUMENTS))


@dataclass
class Tally:
    """What was measured so far, and what follows from it.

    Attributes:
        steps_seconds: what the steps of the write stop take besides their calls, a round of
            catching up and a snapshot.
        slices: what was measured of each; they are caught up at the same time.
        earlier: of earlier write stops of the stack, how many times as long as expected they were;
            of those with a last snapshot apart, as `earlier_with_snapshot`.
        expected_at_stop_seconds: what was expected when writes were stopped; None until then.
    """

    steps_seconds: float
    slices: list[SliceTally] = field(default_factory=lambda: [SliceTally()])
    earlier: list[float] = field(default_factory=list)
    earlier_with_snapshot: list[float] = field(default_factory=list)
    expected_at_stop_seconds: float | None = None

    @classmethod
    def first(cls, records: Records, steps_seconds: float) -> Self:
        """That of a domain of which nothing else was measured, with what the stack has learned."""
        return cls(
            steps_seconds,
            earlier=records.kept(_EARLIER[False], default=[]),
            earlier_with_snapshot=records.kept(_EARLIER[True], default=[]),
        )

    @classmethod
    def of(cls, records: Records, domain: str) -> Self | None:
        """That of a domain; None where catching up hasn't begun."""
        prefix = _prefix(domain)
        stored = {
            item["record"].removeprefix(prefix): json.loads(item["tally"])
            for item in records.items(prefix)
        }
        if _COMMON not in stored:
            return None
        common = stored[_COMMON]
        numbers = range(common.pop("slices"))
        return cls(slices=[SliceTally(**stored[str(number)]) for number in numbers], **common)

    def keep(self, records: Records, domain: str) -> None:
        """Stores all of it, while no slice is caught up."""
        for number, each in enumerate(self.slices):
            each.keep(records, domain, number)
        self._keep_common(records, domain)

    def stop_writes(self, records: Records, domain: str) -> None:
        """Notes what is expected at the moment when writes are stopped."""
        self.expected_at_stop_seconds = self.expected_seconds
        self._keep_common(records, domain)

    def _keep_common(self, records: Records, domain: str) -> None:
        common = asdict(self) | {"slices": len(self.slices)}
        records.put(f"{_prefix(domain)}{_COMMON}", tally=json.dumps(common))

    def begin(self, slices: int) -> None:
        """Begins to measure anew, of so many slices; what was measured before is told on."""
        if len(self.slices) != slices:
            first = SliceTally(call_seconds=self.call_seconds, rounds=self.rounds)
            self.slices = [first, *(SliceTally() for _ in range(slices - 1))]
        for each in self.slices:
            each.rounds_before = len(each.rounds)

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """Those of all slices, in the order of time."""
        return sorted(
            (each for slice_tally in self.slices for each in slice_tally.rounds),
            key=itemgetter("began_at"),
        )

    @property
    def converges(self) -> bool:
        """Whether each slice leaves less and less to be copied."""
        return all(each.converges for each in self.slices)

    @property
    def call_seconds(self) -> float:
        """What the call of a function takes besides its work."""
        return max(each.call_seconds for each in self.slices)

    @property
    def by_snapshot(self) -> int:
        """How many indices need a last snapshot."""
        return sum(each.by_snapshot for each in self.slices)

    @property
    def snapshot_seconds(self) -> float:
        """What that snapshot and its restore take; 0 where none is needed."""
        return sum(each.snapshot_seconds for each in self.slices)

    def is_enough(self, job: DomainJob, number: int) -> bool:
        """Whether the write stop would be short enough, or doesn't become shorter, for a slice."""
        one = self.slices[number]
        return (
            self._prediction(one.catch_up_seconds).seconds <= job.cutover.write_stop_seconds
            or not one.converges
            or len(one.rounds) - one.rounds_before >= job.cutover.catch_up_rounds
        )

    @property
    def expected_seconds(self) -> float:
        """How long writes will stop, by what was measured in this migration alone."""
        return self.overhead_seconds + self.snapshot_seconds + self.catch_up_seconds

    @property
    def overhead_seconds(self) -> float:
        """Of that, the steps and their calls."""
        calls = _CALLS + (len(self.slices) > 1)
        return self.steps_seconds + calls * self.call_seconds

    @property
    def catch_up_seconds(self) -> float:
        """Of that, what the slice takes that takes longest."""
        return max(each.catch_up_seconds for each in self.slices)

    def prediction(self) -> Prediction:
        """How long writes will stop if they stop now."""
        return self._prediction(self.catch_up_seconds)

    def learn(self, records: Records, seconds: float) -> None:
        """Keeps how long the write stop was that is noted, for the predictions of later ones."""
        if self.expected_at_stop_seconds is None:
            return
        name = _EARLIER[self.by_snapshot > 0]
        earlier = [
            *records.kept(name, default=[]),
            round(seconds / self.expected_at_stop_seconds, 3),
        ]
        records.keep(name, earlier[-_MOST_EARLIER:])

    def _prediction(self, catch_up_seconds: float) -> Prediction:
        expected = self.overhead_seconds + self.snapshot_seconds + catch_up_seconds
        earlier = self.earlier_with_snapshot if self.by_snapshot else self.earlier
        usual = statistics.median(earlier) if earlier else 1.0
        parts = {
            "a last snapshot of what can't be caught up": self.snapshot_seconds,
            "what clients wrote meanwhile": catch_up_seconds,
            "the steps themselves": self.overhead_seconds,
        }
        return Prediction(
            seconds=round(expected * usual, 1),
            low_seconds=round(expected * min([usual / _LEAST_SPREAD, *earlier]), 1),
            high_seconds=round(expected * max([usual * _LEAST_SPREAD, *earlier]), 1),
            reason=max(parts, key=lambda part: parts[part]),
        )


def last_round_will_be_shorter(rounds: Sequence[dict[str, Any]]) -> bool:
    """Whether another round leaves less to a last one; so it is while each halves the one before.

    Args:
        rounds: what earlier rounds have copied, at least one.
    """
    copied = [sum(each[phase]["bytes_new"] for phase in _PHASES) for each in rounds[-2:]]
    return len(copied) == 1 or copied[1] < copied[0] / 2


def round_is_quicker_than_catching_up(
    rounds: Sequence[dict[str, Any]], written: int, operations: int
) -> bool:
    """Whether another round of snapshots takes less time than catching up what it would bring.

    How much of the files a round reuses depends on where clients write: a single update of an old
    document has the whole of its segment copied again. From the second round on that is measured.
    Before, the best is assumed: that as much is copied as was written.

    Args:
        rounds: what earlier rounds have copied, at least one.
        written: operations since the last of them.
        operations: of all.
    """
    copy_seconds = sum(rounds[-1][phase]["seconds"] for phase in _PHASES)
    if len(rounds) == 1:
        copy_seconds *= written / max(1, operations)
    return bool(written * _FIRST_DOCUMENT_SECONDS > copy_seconds + _ROUND_SECONDS)


def last_copy_seconds(rounds: Sequence[dict[str, Any]], share: float) -> float:
    """How long a last snapshot and its restore will take.

    Args:
        rounds: what earlier rounds have copied; none, no prediction.
        share: how much of the bytes of the last of them need it.
    """
    if not rounds:
        return 0.0
    return float(share * sum(rounds[-1][phase]["seconds"] for phase in _PHASES))


def _prefix(domain: str) -> str:
    return f"catch_up#{domain}#"
