"""A table as the template makes it, on moto's DynamoDB: its conditions are the real ones."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from moto import mock_aws

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import DynamoDBServiceResource, Table


@contextmanager
def table() -> Iterator["Table"]:
    with mock_aws():
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
