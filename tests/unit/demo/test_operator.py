import pytest

from snapferry_sandbox.demo.operator import AnsweredGate, WriteStop, measure_write_stop
from snapferry_sandbox.demo.writer import Ledger
from snapferry_sandbox.errors import SandboxError

SOURCE = Ledger(last_accepted_at=100.0)
DESTINATION = Ledger(first_accepted_at=110.0)


def test_without_gates() -> None:
    assert measure_write_stop(SOURCE, DESTINATION, []) == WriteStop(10.0, 0.0)


def test_waiting_for_people_is_told_apart() -> None:
    gates = [AnsweredGate("clients_moved", 106.0, 109.0)]
    assert measure_write_stop(SOURCE, DESTINATION, gates) == WriteStop(7.0, 3.0)


def test_waiting_before_the_last_write_and_after_the_first_is_no_write_stop() -> None:
    gates = [
        AnsweredGate("stop_writes", 40.0, 101.0),
        AnsweredGate("clients_moved", 108.0, 150.0),
        AnsweredGate("other", 10.0, 20.0),
    ]
    assert measure_write_stop(SOURCE, DESTINATION, gates) == WriteStop(7.0, 3.0)


@pytest.mark.parametrize(("source", "destination"), [(Ledger(), DESTINATION), (SOURCE, Ledger())])
def test_a_side_that_accepted_nothing_measures_nothing(source: Ledger, destination: Ledger) -> None:
    with pytest.raises(SandboxError, match="accepted"):
        measure_write_stop(source, destination, [])
