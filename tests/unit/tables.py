"""A table as the template makes it, on moto's DynamoDB: its conditions are the real ones."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

    def one_at_a_time(write: Callable[..., Any]) -> Callable[..., Any]:
        """Threads of a test share moto, which looks at a condition and writes in two steps."""

        @functools.wraps(write)
        def locked(*args: Any, **options: Any) -> Any:
            with lock:
                return write(*args, **options)

        return locked

    with (
        mock_aws(),
        patch.object(DynamoDBBackend, "put_item", one_at_a_time(DynamoDBBackend.put_item)),
        patch.object(DynamoDBBackend, "update_item", one_at_a_time(DynamoDBBackend.update_item)),
    ):
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
    return boto3.resource(
        "dynamodb",
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
