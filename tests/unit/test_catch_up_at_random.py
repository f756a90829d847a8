"""The tail between two fake clusters at which everything happens at once, at random moments."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from opensearchpy.exceptions import ConnectionError as Disconnected

from snapferry import catchup
from snapferry.catchup import IndexRound
from snapferry.errors import Unavailable
from tests.unit.conftest import Storage
from tests.unit.fake_shards import FakeShard, FakeTailCluster, FakeTailIndex, Stored, shards
from tests.unit.fakes import Request
from tests.unit.test_catch_up import DOMAIN, INDEX, Tail

RUNS = 100
# Of those that `make test` takes.
ALWAYS = 10
_MOST_CALLS = 1_000


class Died(Exception):  # noqa: N818 - no error of anybody's
    """A function has ended in the middle of its work."""


class Copies:
    """A shard of the source with its replica, which has what clients were told is written."""

    def __init__(self, shard: FakeShard, chance: random.Random) -> None:
        self.shard = shard
        self._chance = chance
        self.replicate()

    def replicate(self) -> None:
        """The replica gets everything, and the clients their answers."""
        self.shard.lagging = 0
        self._replica: tuple[dict[str, Stored], int] = (
            dict(self.shard.documents),
            self.shard.max_seq_no,
        )

    def write(self) -> None:
        """An insert, an update, a delete, or the creation of what was deleted."""
        key = f"{self.shard.number}-{self._chance.randrange(30)}"
        before = self.shard.documents.get(key)
        kind = self._chance.randrange(5)
        if before and kind == 0:
            self.shard.delete(key)
        elif before and kind == 1:
            self.shard.index(key, version=before.version + self._chance.randrange(1, 9))
        else:
            self.shard.index(key)
        self.shard.lagging += 1
        if self._chance.random() < 0.7:
            self.replicate()

    def fail_over(self) -> None:
        """What was on the primary alone is lost, and its numbers are given to others."""
        self.shard.fail_over(*self._replica)

    def move(self) -> None:
        self.replicate()
        self.shard.move()


def disturb(cluster: FakeTailCluster, happens: Callable[[], None]) -> None:
    """Has something happen before a request is answered, and after it."""
    answer = cluster.answer

    def disturbed(request: Request) -> Any:
        happens()
        answered = answer(request)
        happens()
        return answered

    cluster.answer = disturbed  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, marks=() if seed < ALWAYS else pytest.mark.exhaustive)
        for seed in range(RUNS)
    ],
)
def test_whatever_happens_meanwhile_both_sides_are_equal_in_the_end(
    storage: Storage, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    tail = Tail(
        FakeTailCluster({INDEX: FakeTailIndex(shards(2, documents=20))}),
        FakeTailCluster({}),
        storage,
    )
    copies = [Copies(shard, chance) for shard in tail.source.tails[INDEX].shards]
    is_quiet, is_frozen = True, False

    def at_source() -> None:
        if is_quiet:
            return
        one = chance.choice(copies)
        match chance.random():
            case drawn if is_frozen:
                if drawn < 0.02:
                    one.move()
            case drawn if drawn < 0.2:
                one.write()
            case drawn if drawn < 0.3:
                one.replicate()
            case drawn if drawn < 0.32:
                one.fail_over()
            case drawn if drawn < 0.34:
                one.move()

    def at_destination() -> None:
        if is_quiet:
            return
        match chance.random():
            case drawn if drawn < 0.02:
                raise Disconnected("N/A", "a node has gone", None)
            case drawn if drawn < 0.03:
                raise Died
            case drawn if drawn < 0.04:
                copy = chance.choice(tail.destination.tails[INDEX].shards)
                copy.fail_over(copy.documents, copy.max_seq_no)

    disturb(tail.source, at_source)
    disturb(tail.destination, at_destination)

    def repeated(call: Callable[[float], IndexRound]) -> IndexRound:
        """As the state machine does."""
        for number in range(_MOST_CALLS):
            nonlocal is_quiet
            is_quiet = number > _MOST_CALLS // 2
            try:
                done = call(chance.choice((0, 0.01)) if not is_quiet else 60)
            except (Unavailable, Died):
                continue
            assert done.unfit == ""
            if done.sealed:
                is_quiet = False
                return done
        raise AssertionError("it never ends")

    def round_until_stopped(hold_seconds: float) -> IndexRound:
        done = catchup.run_round(
            *tail.clients,
            storage.records,
            DOMAIN,
            [INDEX],
            hold_seconds,
            tail.sleep,
            is_stopped=lambda: not is_quiet and chance.random() < 0.05,
        )
        [index] = done.indices
        return index

    tail.keep_base()
    for _ in range(chance.randrange(20)):
        chance.choice(copies).write()
    tail.restore()
    assert tail.begin() == {}
    is_quiet = False
    for _ in range(chance.randrange(3)):
        repeated(round_until_stopped)
    for one in copies:
        one.replicate()
    is_frozen = True
    repeated(tail.last_round)

    assert tail.is_equal
    is_quiet = True
    assert catchup.written_to(tail.clients[0], storage.records, DOMAIN, [INDEX], 2) == []
