"""A rule starts an execution whatever part of the event becomes its input.

LocalStack names the execution after the event, and so fails where an `InputPath` or an
`InputTransformer` leaves the event's id out.
"""

from localstack.services.events.target import StatesTargetSender
from localstack.services.events.utils import to_json_str


def patch() -> None:
    """Leave the name to Step Functions."""
    StatesTargetSender.send_event = _start_execution


def _start_execution(self: StatesTargetSender, event: object, _: object) -> None:
    self.service = "stepfunctions"
    self.client.start_execution(stateMachineArn=self.target["Arn"], input=to_json_str(event))
