"""Hears what the stack tells: on its topic, on its event bus, and on that of Step Functions."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.sandbox.migrations import Outcome, Sandbox, Started, fill, wait_until

_QUEUE = _RULE = "overheard"

type Heard = list[tuple[str, str]]
"""What was told: `topic` or the source of an event, and the text."""


@dataclass(frozen=True)
class Told:
    """What was told of two migrations of an index: the second one finds it moved already."""

    began_at: datetime
    ended_at: datetime
    succeeded: Outcome
    failed: Outcome
    heard: Heard


def listen(sandbox: Sandbox) -> Told:
    """Has an event start a migration, and its like fail after it."""
    began_at = datetime.now(UTC)
    fill(sandbox.source, "requested-1", 20)
    document = sandbox.request("requested-1")
    with _overheard(sandbox) as heard:
        started = _request_by_event(sandbox, document)
        succeeded = sandbox.end(started)
        failed = sandbox.migrate(document)
    return Told(began_at, datetime.now(UTC), succeeded, failed, heard)


def _request_by_event(sandbox: Sandbox, document: Any) -> Started:
    """Asks for a migration on the bus, and gives the execution that was started for it."""
    arn = sandbox.world.deployment["state_machines"]["migrate"]

    def executions() -> set[str]:
        answer = sandbox.executions.list_executions(stateMachineArn=arn)
        return {execution["executionArn"] for execution in answer["executions"]}

    before = executions()
    answer = sandbox.client("events").put_events(
        Entries=[
            {
                "EventBusName": sandbox.world.deployment["event_bus"],
                "Source": "somebody",
                "DetailType": "MigrationRequested",
                "Detail": json.dumps(document),
            }
        ]
    )
    assert answer["FailedEntryCount"] == 0
    wait_until(lambda: executions() > before)
    [execution_arn] = executions() - before
    return Started(execution_arn.rpartition(":")[2], execution_arn)


def _are_both_ends_told(heard: Heard) -> bool:
    """Whether a success and a failure were told, to programs and to people."""
    events = [json.loads(text)["detail-type"] for source, text in heard if source == "snapferry"]
    messages = [text for source, text in heard if source == "topic"]
    return all(
        f"Migration{end}" in events and any(f"has {end.lower()}" in message for message in messages)
        for end in ("Succeeded", "Failed")
    )


@contextmanager
def _overheard(sandbox: Sandbox) -> Iterator[Heard]:
    """Gives at the end what was told, up to both ends and until there is silence."""
    queues, topics, events = (sandbox.client(name) for name in ("sqs", "sns", "events"))
    url = queues.create_queue(QueueName=_QUEUE)["QueueUrl"]
    answer = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn = answer["Attributes"]["QueueArn"]
    topic = sandbox.world.deployment["topic"]
    subscription = topics.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    sources = {"default": "aws.states", sandbox.world.deployment["event_bus"]: "snapferry"}
    for bus, source in sources.items():
        pattern = json.dumps({"source": [source]})
        events.put_rule(Name=_RULE, EventBusName=bus, EventPattern=pattern)
        events.put_targets(Rule=_RULE, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    heard: Heard = []

    def is_silent() -> bool:
        answer = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        messages = answer.get("Messages", [])
        for message in messages:
            body = json.loads(message["Body"])
            heard.append((body.get("source", "topic"), message["Body"]))
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return not messages

    try:
        yield heard
        wait_until(lambda: is_silent() and _are_both_ends_told(heard))
    finally:
        topics.unsubscribe(SubscriptionArn=subscription)
        for bus in sources:
            events.remove_targets(Rule=_RULE, EventBusName=bus, Ids=["queue"])
            events.delete_rule(Name=_RULE, EventBusName=bus)
        queues.delete_queue(QueueUrl=url)
