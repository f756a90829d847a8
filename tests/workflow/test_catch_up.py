"""The state machine that catches a domain's indices up."""

from tests.workflow.fake_handlers import in_turn
from tests.workflow.migration import CAUGHT_UP, Migration


def test_goes_on_until_it_has_ended(migration: Migration) -> None:
    not_yet = CAUGHT_UP | {"ended": False}
    migration.handlers["catch_up"] = in_turn(not_yet, not_yet, CAUGHT_UP)

    execution = migration.run("catch_up")

    assert execution.status == "SUCCEEDED"
    assert execution.output == {"ended": True, "predicted_write_stop_seconds": 2.5}
    assert [(payload["job"], payload["until"]) for payload in migration.called("catch_up")] == [
        (migration.job(), "lag fits")
    ] * 3
