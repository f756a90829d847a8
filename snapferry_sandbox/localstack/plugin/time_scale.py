"""Waits that take less time than they say, for tests."""

import time
from types import SimpleNamespace

from localstack.services.stepfunctions.asl.component.common.retry import retrier_decl
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service import (  # noqa: E501
    state_task_service_callback,
)
from localstack.services.stepfunctions.asl.component.state.state_wait.wait_function.wait_function import (  # noqa: E501
    WaitFunction,
)
from localstack.services.stepfunctions.asl.eval.environment import Environment

_SHORTEST_POLL_SECONDS = 0.05


def patch(scale: float) -> None:
    """Multiply what Wait states and Retry wait for, and the pause between two looks at a child.

    Time-outs stay as they are.

    Args:
        scale: 1 changes nothing.
    """

    def wait(self: WaitFunction, env: Environment, wait_seconds: float) -> None:  # noqa: ARG001
        deadline = time.monotonic() + wait_seconds * scale
        while env.is_running() and (remaining := deadline - time.monotonic()) > 0:
            env.program_state_event.wait(remaining)

    def sleep(seconds: float) -> None:
        time.sleep(seconds * scale)

    WaitFunction._wait_interval = wait
    # All that this module uses of `time`.
    retrier_decl.time = SimpleNamespace(sleep=sleep)
    state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK = max(
        state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK * scale,
        _SHORTEST_POLL_SECONDS,
    )
