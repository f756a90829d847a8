"""Hears what the stack tells: on its topic, on its event bus, and on that of Step Functions."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.sandbox.migrations import Sandbox

_QUEUE = _RULE = "overheard"


@contextmanager
def overheard(sandbox: Sandbox) -> Iterator[list[tuple[str, str]]]:
    """Gives at the end what was told: `topic` or the source of an event, and the text."""
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
    heard: list[tuple[str, str]] = []
    try:
        yield heard
        while messages := _received(queues, url):
            for message in messages:
                body = json.loads(message["Body"])
                heard.append((body.get("source", "topic"), message["Body"]))
                queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    finally:
        topics.unsubscribe(SubscriptionArn=subscription)
        for bus in sources:
            events.remove_targets(Rule=_RULE, EventBusName=bus, Ids=["queue"])
            events.delete_rule(Name=_RULE, EventBusName=bus)
        queues.delete_queue(QueueUrl=url)


def _received(queues: Any, url: str) -> list[Any]:
    answer = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
    return list(answer.get("Messages", []))
