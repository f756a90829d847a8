"""A table as the template makes it, on moto's DynamoDB: its conditions are the real ones.

moto's reads are always consistent. DynamoDB's may show what was before, unless they ask for what is
now; so here all have to ask for that.
"""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import DynamoDBServiceResource, Table


@contextmanager
def table() -> Iterator["Table"]:
    lock = threading.RLock()

    def one_at_a_time(operation: Callable[..., Any]) -> Callable[..., Any]:
        """Threads of a test share moto, where an operation takes several steps."""

        @functools.wraps(operation)
        def locked(*args: Any, **options: Any) -> Any:
            with lock:
                return operation(*args, **options)

        return locked

    with mock_aws(), ExitStack() as patches:
        for name in ("put_item", "update_item", "delete_item", "query", "scan"):
            alone = one_at_a_time(getattr(DynamoDBBackend, name))
            patches.enter_context(patch.object(DynamoDBBackend, name, alone))
        yield _dynamodb().create_table(
            TableName="snapferry",
            KeySchema=[
                {"AttributeName": "migration_id", "KeyType": "HASH"},
                {"AttributeName": "record", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "migration_id", "AttributeType": "S"},
                {"AttributeName": "record", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )


@functools.cache
def _dynamodb() -> "DynamoDBServiceResource":
    """Kept, since to make one takes far longer than a test."""
    made = boto3.resource(
        "dynamodb",
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    for operation in ("GetItem", "Query"):
        made.meta.client.meta.events.register(
            f"provide-client-params.dynamodb.{operation}", _require_consistency
        )
    return made


def _require_consistency(params: Mapping[str, Any], **_: Any) -> None:
    assert params.get("ConsistentRead") is True, params
