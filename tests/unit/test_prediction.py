"""Predictions of the write stop."""

import math
from typing import Any

import pytest

from snapferry import prediction
from snapferry.catchup import IndexRound, Round
from snapferry.prediction import Prediction, SliceTally, Tally
from tests.unit.conftest import MakeJob, Storage

DOMAIN = "logs"


def done(seconds: float, documents: int, lag: int) -> Round:
    return Round(seconds, [IndexRound("a", documents=documents, lag=lag, sealed=True)])


def test_it_grows_with_the_lag_and_with_the_overhead() -> None:
    tally = Tally(1.1, [SliceTally(call_seconds=0.1)])
    tally.slices[0].add("lag fits", done(1, 1_000, lag=0))
    idle = tally.expected_seconds
    tally.slices[0].add("lag fits", done(11, 10_000, lag=1_100))
    assert idle == pytest.approx(1.5 + 1)
    # Besides the time of two rounds that find nothing, 11,000 documents took 10 seconds; 5,000 at
    # the usual rate, which count as well, take one.
    assert tally.expected_seconds == pytest.approx(idle + 1_100 * 11 / 16_000)


def test_few_documents_say_little_of_how_long_others_take() -> None:
    tally = Tally(0, [SliceTally(call_seconds=0)])
    for last in (done(1, 0, lag=0), done(2, 100, lag=100)):
        tally.slices[0].add("lag fits", last)
    assert tally.expected_seconds == pytest.approx(1 + 100 * 2 / 5_100)


def test_documents_that_nothing_was_learned_of_have_a_usual_rate() -> None:
    tally = Tally(1.1, [SliceTally(call_seconds=0.1)])
    tally.slices[0].add("lag fits", done(0.5, 0, lag=5_000))
    assert tally.expected_seconds == pytest.approx(1.5 + 0.5 + 1)


def test_a_round_that_was_cut_short_says_nothing_of_a_whole_one() -> None:
    tally = Tally(0, [SliceTally(call_seconds=0)])
    tally.slices[0].add("lag fits", done(3, 0, lag=0))
    tally.slices[0].add("writes stop", Round(0.1, [IndexRound("a", lag=5_000)]))
    assert tally.expected_seconds == pytest.approx(3 + 1)


def test_rounds_beside_a_gate_count_as_one() -> None:
    tally = Tally(steps_seconds=0)
    for lag in (5, 3):
        tally.slices[0].add("writes stop", done(1, 10, lag))
    assert [(each["rounds"], each["documents"], each["lag"]) for each in tally.rounds] == [
        (2, 20, 3)
    ]


@pytest.mark.parametrize(
    ("lag", "seconds"),
    [
        # A second's writes take 0.04 s, and a quarter of an idle round is 0.25 s.
        (100, 6.25),
        (1_000, 0.625),
        (0, math.inf),
    ],
)
def test_the_next_round_waits_until_there_is_something_to_copy(lag: int, seconds: float) -> None:
    measured = SliceTally()
    for last in (done(1, 0, lag=0), done(6, 10_000, lag=0), done(1, 0, lag)):
        measured.add("writes stop", last)
    assert measured.seconds_until_next_round(last) == pytest.approx(seconds)


def test_what_a_round_has_left_waits_for_nothing() -> None:
    left = Round(1, [IndexRound("a", lag=0), IndexRound("b", lag=0, sealed=True)])
    measured = SliceTally()
    measured.add("writes stop", left)
    assert measured.seconds_until_next_round(left) == 0


def test_a_last_snapshot_takes_its_share_of_the_last_copy() -> None:
    rounds: list[dict[str, Any]] = [
        {"snapshot": {"seconds": 100}, "restore": {"seconds": 50}},
        {"snapshot": {"seconds": 10}, "restore": {"seconds": 6}},
    ]
    assert prediction.last_copy_seconds(rounds, share=0.25) == 4
    assert prediction.last_copy_seconds([], share=0.25) == 0


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        ([], Prediction(2.0, 1.0, 4.0, "the steps themselves")),
        # It tends to take half as long again.
        ([1.5], Prediction(3.0, 1.5, 6.0, "the steps themselves")),
        # All of the earlier ones lie inside.
        ([0.5, 1.0, 1.0, 1.0, 4.0], Prediction(2.0, 1.0, 8.0, "the steps themselves")),
    ],
)
def test_earlier_write_stops_correct_it(earlier: list[float], expected: Prediction) -> None:
    assert Tally(steps_seconds=1.6, earlier=earlier).prediction() == expected


def test_the_latest_write_stops_are_remembered_by_later_migrations(storage: Storage) -> None:
    for number in range(1, 31):
        ended = Tally(steps_seconds=1.6, expected_at_stop_seconds=2.0)
        ended.learn(storage.records_of(f"m-{number}"), 2.0 * number)

    begun = Tally.first(storage.records_of("m-31"), steps_seconds=1.6)

    assert begun.earlier == [float(number) for number in range(11, 31)]
    assert begun.earlier_with_snapshot == []


def test_write_stops_with_a_last_snapshot_are_remembered_apart(storage: Storage) -> None:
    quick = Tally(steps_seconds=1.6, expected_at_stop_seconds=2.0)
    quick.learn(storage.records, 4.0)
    slow = Tally(
        1.6, [SliceTally(by_snapshot=1, snapshot_seconds=100.0)], expected_at_stop_seconds=102.0
    )
    slow.learn(storage.records, 10.2)

    begun = Tally.first(storage.records, steps_seconds=1.6)

    assert begun.prediction().seconds == 4.0
    begun.slices = [SliceTally(by_snapshot=1, snapshot_seconds=100.0)]
    assert begun.prediction().seconds == 10.2


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"snapshot_seconds": 9.0}, "a last snapshot of what can't be caught up"),
        ({"rounds": [{"rounds": 1, "documents": 0, "seconds": 1, "lag": 20_000}]}, "what clients"),
    ],
)
def test_it_says_what_takes_so_long(parts: dict[str, Any], reason: str) -> None:
    assert Tally(2, [SliceTally(**parts)]).prediction().reason.startswith(reason)


@pytest.mark.parametrize(
    ("rounds", "enough"),
    [
        ([done(100, 1_000, 90_000)], False),
        ([done(100, 1_000, 90_000), done(90, 90, 80_000)], False),
        # Short enough
        ([done(2, 1_000, 10)], True),
        # It doesn't become less.
        ([done(100, 1_000, 90_000), done(90, 90, 90_000)], True),
        # It would go on for ever.
        ([done(100, 1_000, 90_000 - number) for number in range(3)], True),
    ],
)
def test_when_it_is_enough(make_job: MakeJob, rounds: list[Round], enough: bool) -> None:
    job = make_job(cutover={"write_stop_seconds": 5, "catch_up_rounds": 3})
    tally = Tally(steps_seconds=1)
    for each in rounds:
        tally.slices[0].add("lag fits", each)
    assert tally.is_enough(job, 0) == enough


def test_the_slice_that_takes_longest_decides(make_job: MakeJob) -> None:
    job = make_job(cutover={"write_stop_seconds": 5})
    quick, slow = (SliceTally(call_seconds=0.1) for _ in range(2))
    quick.add("lag fits", done(1, 1_000, lag=0))
    slow.add("lag fits", done(20, 1_000, lag=0))
    tally = Tally(1.1, [quick, slow])

    # One call more than where there is one slice.
    assert tally.expected_seconds == pytest.approx(1.1 + 5 * 0.1 + 20)
    # Each goes on until it is short enough itself.
    assert (tally.is_enough(job, 0), tally.is_enough(job, 1)) == (True, False)


def test_slices_note_what_they_measure_beside_each_other(storage: Storage) -> None:
    Tally(1.0, [SliceTally(), SliceTally()]).keep(storage.records, DOMAIN)
    Tally(9.0).keep(storage.records, f"{DOMAIN}-2")
    seen = [Tally.of(storage.records, DOMAIN) for _ in range(2)]

    for number, (tally, lag) in enumerate(zip(seen, (5, 7), strict=True)):
        assert tally
        tally.slices[number].add("lag fits", done(1, 10, lag))
        tally.slices[number].keep(storage.records, DOMAIN, number)

    whole = Tally.of(storage.records, DOMAIN)
    assert whole
    assert [each.rounds[-1]["lag"] for each in whole.slices] == [5, 7]
    assert len(whole.rounds) == 2
    assert whole.steps_seconds == 1.0


def test_what_was_measured_before_is_told_on_where_slices_are_dealt_anew() -> None:
    tally = Tally(1.0, [SliceTally() for _ in range(3)])
    for each in tally.slices:
        each.add("lag fits", done(1, 10, lag=1))

    tally.begin(2)

    assert [len(each.rounds) for each in tally.slices] == [3, 0]
    assert [each.rounds_before for each in tally.slices] == [3, 0]
    assert len(tally.rounds) == 3
