import importlib

import pytest

from snapferry_sandbox import faults


@pytest.mark.parametrize(
    ("name", "is_fenced"),
    [
        ("begin_migration", True),
        ("cut_over", True),
        ("give_back_changes", True),
        ("start_restore", True),
        # It is let in anew for each round.
        ("catch_up", False),
        ("check_restore", False),
        ("end_migration", False),
    ],
)
def test_a_handler_that_has_its_effect_behind_the_fence_is_known(
    name: str, is_fenced: bool
) -> None:
    assert faults.is_fenced(importlib.import_module(name).handler) is is_fenced
