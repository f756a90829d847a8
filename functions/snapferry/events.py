"""What the product tells the world on its event bus, for others to act on.

Every event has the source `snapferry`, its name as detail type, and a detail that docs/events.md
describes.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from snapferry.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

type Event = Literal[
    "PlanReady",
    "SnapshotCompleted",
    "RoundCompleted",
    "GateOpened",
    "ReadyForCutover",
    "MigrationSucceeded",
    "MigrationFailed",
    "SnapshotSkipped",
    "RolledBack",
]

_SOURCE = "snapferry"


@dataclass(frozen=True)
class Bus:
    """The event bus of the stack.

    Attributes:
        client: of EventBridge.
        name: of the bus.
    """

    client: "EventBridgeClient"
    name: str

    def tell(self, event: Event, migration_id: str, **detail: Any) -> None:
        """Puts an event on the bus. Who repeats it tells it twice: listeners have to bear that.

        Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html

        Args:
            event: what has happened.
            migration_id: of which migration.
            detail: plain JSON, by name.

        Raises:
            Unavailable: where the bus didn't take it.
        """
        answer = self.client.put_events(
            Entries=[
                {
                    "Source": _SOURCE,
                    "DetailType": event,
                    "Detail": json.dumps({"migration_id": migration_id} | detail),
                    "EventBusName": self.name,
                }
            ]
        )
        if answer["FailedEntryCount"]:
            raise Unavailable(f"the event bus {self.name} didn't take {event}: {answer['Entries']}")
