import pytest

from snapferry_sandbox.network import Direction


def test_pieces_pass_one_after_the_other() -> None:
    direction = Direction(bytes_per_second=1000)
    direction.delay_seconds(100, now=10.0)  # as much as it may do at once
    assert direction.delay_seconds(500, now=10.0) == pytest.approx(0.5)
    assert direction.delay_seconds(1000, now=10.0) == pytest.approx(1.5)
    assert direction.delay_seconds(100, now=11.0) == pytest.approx(0.6)


def test_who_wakes_up_late_is_not_slower_for_it() -> None:
    direction = Direction(bytes_per_second=1000)
    direction.delay_seconds(600, now=10.0)
    assert direction.delay_seconds(500, now=10.55) == pytest.approx(0.45)


def test_little_is_left_of_what_was_not_used() -> None:
    direction = Direction(bytes_per_second=1000)
    direction.delay_seconds(500, now=10.0)
    assert direction.delay_seconds(500, now=100.0) == pytest.approx(0.4)
    assert direction.delay_seconds(50, now=200.0) == 0
