"""DynamoDB by moto, in LocalStack's process; LocalStack's own would download a Java program."""

from localstack.aws.api.dynamodb import DynamodbApi
from localstack.services.moto import MotoFallbackDispatcher
from localstack.services.plugins import Service, ServiceLifecycleHook, aws_provider


class MotoProvider(DynamodbApi, ServiceLifecycleHook):
    """Implements nothing, so moto does."""


@aws_provider(api="dynamodb", name="moto")
def dynamodb() -> Service:
    """Return the service."""
    return Service.for_provider(MotoProvider(), dispatch_table_factory=MotoFallbackDispatcher)
