from hypothesis import given
from hypothesis import strategies as st

from snapferry.polling import LONGEST_WAIT_SECONDS, SHORTEST_WAIT_SECONDS, next_wait_seconds

TWO_WEEKS_SECONDS = 14 * 24 * 3600
TOTAL_BYTES = 100 * 2**40

durations = st.floats(min_value=0, max_value=10 * TWO_WEEKS_SECONDS)
amounts = st.integers(min_value=0, max_value=TOTAL_BYTES)
# How a copy's rate changes: the share of the bytes done at equal steps of the time.
courses = st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=40).map(sorted)


def looks_at(course: list[float], duration_seconds: float) -> list[float]:
    """When a copy is looked at that takes so long, until it is seen to have ended."""
    times = [0.0]
    while times[-1] < duration_seconds:
        step = int(times[-1] / duration_seconds * len(course))
        done = min(int(course[step] * TOTAL_BYTES), TOTAL_BYTES - 1)
        times.append(times[-1] + next_wait_seconds(times[-1], done, TOTAL_BYTES))
    return times


@given(elapsed_seconds=durations, bytes_done=amounts, bytes_total=amounts)
def test_a_wait_is_never_too_short_nor_too_long(
    elapsed_seconds: float, bytes_done: int, bytes_total: int
) -> None:
    wait = next_wait_seconds(elapsed_seconds, bytes_done, bytes_total)

    assert isinstance(wait, int)
    assert SHORTEST_WAIT_SECONDS <= wait <= LONGEST_WAIT_SECONDS


@given(elapsed_seconds=durations, bytes_total=amounts, shares=st.tuples(amounts, amounts))
def test_the_more_is_done_the_sooner_is_the_next_look(
    elapsed_seconds: float, bytes_total: int, shares: tuple[int, int]
) -> None:
    less, more = sorted(1 + share % max(1, bytes_total) for share in shares)

    assert next_wait_seconds(elapsed_seconds, more, max(1, bytes_total)) <= next_wait_seconds(
        elapsed_seconds, less, max(1, bytes_total)
    )


@given(course=courses)
def test_two_weeks_take_fewer_than_1500_looks_whatever_the_course(course: list[float]) -> None:
    assert len(looks_at(course, TWO_WEEKS_SECONDS)) < 1500


def test_two_weeks_of_stalling_just_before_the_end_take_fewer_than_1500_looks() -> None:
    assert len(looks_at([1.0], TWO_WEEKS_SECONDS)) < 1500


def test_two_weeks_of_a_rate_that_jumps_take_fewer_than_1500_looks() -> None:
    leaps = [share for step in range(10) for share in (step / 10, (step + 0.99) / 10)]

    assert len(looks_at(leaps, TWO_WEEKS_SECONDS)) < 1500


@given(duration_seconds=st.floats(min_value=10, max_value=TWO_WEEKS_SECONDS))
def test_the_end_of_a_steady_copy_is_seen_within_two_percent(duration_seconds: float) -> None:
    steady = [step / 10_000 for step in range(10_000)]

    late_seconds = looks_at(steady, duration_seconds)[-1] - duration_seconds

    assert late_seconds <= max(SHORTEST_WAIT_SECONDS, 0.02 * duration_seconds)


def test_while_nothing_is_known_the_wait_grows_with_the_time() -> None:
    assert [next_wait_seconds(elapsed, 0, 0) for elapsed in (0, 10, 60, 600)] == [2, 5, 30, 300]


def test_half_of_what_remains_is_waited() -> None:
    assert next_wait_seconds(elapsed_seconds=100, bytes_done=80, bytes_total=100) == 12


def test_the_rate_of_the_beginning_is_not_trusted_for_long() -> None:
    assert next_wait_seconds(elapsed_seconds=100, bytes_done=1, bytes_total=100) == 50
