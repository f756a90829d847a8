from collections.abc import Iterator

import pytest

from snapferry.errors import Conflict, MigrationEnded
from snapferry.fence import Fence, Mark
from tests.unit.tables import table

EXECUTION = "arn:aws:states:eu-west-1:222222222222:execution:migrate:m-1"
ROLLER = "arn:aws:states:eu-west-1:222222222222:execution:roll_back:1"


@pytest.fixture
def fence() -> Iterator[Fence]:
    with table() as items:
        fence = Fence(items, "m-1")
        fence.open(EXECUTION)
        yield fence


def test_is_opened_once_though_by_several_attempts(fence: Fence) -> None:
    fence.open(EXECUTION)
    with pytest.raises(Conflict, match="another name"):
        fence.open(EXECUTION.replace("migrate", "migrate-of-another-stack"))


def test_of_a_migration_that_ended_is_not_opened_again(fence: Fence) -> None:
    fence.close(ROLLER)
    with pytest.raises(Conflict):
        fence.open(EXECUTION)


def test_lets_effects_pass_until_the_roll_back(fence: Fence) -> None:
    with fence.effect("request-1", 1000):
        pass
    assert fence.close(ROLLER)
    with pytest.raises(MigrationEnded, match="rolling back"), fence.effect("request-2", 1000):
        pytest.fail("the effect was let pass")
    with fence.effect("request-3", 1000, during="rolling_back"):
        pass
    fence.end()
    with (
        pytest.raises(MigrationEnded, match="ended"),
        fence.effect("request-4", 1000, during="rolling_back"),
    ):
        pytest.fail("the effect was let pass")


def test_unknown_migration_has_no_effects(fence: Fence) -> None:
    unknown = Fence(fence.items, "m-2")
    with pytest.raises(MigrationEnded, match="unknown"), unknown.effect("request", 1000):
        pytest.fail("the effect was let pass")
    assert not unknown.close(ROLLER)
    assert unknown.mark() is None


def test_roll_back_sees_who_is_at_work(fence: Fence) -> None:
    with fence.effect("request-1", 60_000), fence.effect("request-2", 5_000):
        fence.close(ROLLER)
        assert 55 < fence.seconds_until_quiet() <= 62
    assert fence.seconds_until_quiet() == 0


def test_function_that_failed_is_at_work_no_more(fence: Fence) -> None:
    with pytest.raises(ValueError, match="refused"), fence.effect("request", 60_000):
        raise ValueError("refused")
    assert fence.seconds_until_quiet() == 0


def test_function_is_noted_before_it_looks_whether_it_may(
    fence: Fence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a roll-back that begins in between sees nobody, and isn't seen."""
    seconds_until_quiet: list[int] = []
    mark = Fence.mark

    def look(looking: Fence) -> Mark | None:
        seconds_until_quiet.append(looking.seconds_until_quiet())
        return mark(looking)

    monkeypatch.setattr(Fence, "mark", look)
    with fence.effect("request", 60_000):
        pass
    assert [seconds > 0 for seconds in seconds_until_quiet] == [True]


def test_function_that_died_is_not_waited_for_beyond_its_time_out(fence: Fence) -> None:
    fence.items.put_item(Item={"migration_id": "m-1", "record": "effect#dead", "ends_at": 1})
    assert fence.seconds_until_quiet() == 0


def test_one_execution_rolls_back_and_another_takes_over_when_it_has_ended(fence: Fence) -> None:
    second = ROLLER.replace(":1", ":2")
    assert fence.close(ROLLER)
    assert fence.close(ROLLER)
    assert not fence.close(second)
    assert fence.close(second, ended_roller_arn=ROLLER)
    assert not fence.close(ROLLER)
    fence.end()
    assert not fence.close(second)
    mark = fence.mark()
    assert mark is not None
    assert (mark.state, mark.execution_arn) == ("ended", EXECUTION)
