"""Executions that wait at a state, see `snapferry_sandbox.faults`."""

import json
from pathlib import Path

from localstack.services.stepfunctions.asl.component.state.state import CommonStateField
from localstack.services.stepfunctions.asl.eval.environment import Environment

from snapferry_sandbox import faults


def patch(folder: Path) -> None:
    """Have LocalStack's interpreter look for a pause when a state was entered.

    Args:
        folder: where it is written.
    """
    evaluate_input = CommonStateField._eval_state_input

    def evaluate_input_after_pause(self: CommonStateField, env: Environment) -> None:
        pause = folder / "pause"
        if pause.exists():
            state_machine = env.states.context_object.context_object_data["StateMachine"]["Name"]
            wanted = json.loads(pause.read_text())
            if wanted == {"state_machine": state_machine, "state": self.name}:
                faults.take(folder, "pause", "paused")
                faults.wait_to_go_on(folder, "paused")
        evaluate_input(self, env)

    CommonStateField._eval_state_input = evaluate_input_after_pause
