"""A migration of one domain between two fake clusters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import settings
from opensearchpy import OpenSearch

from snapferry import indices, request
from snapferry.events import Bus
from snapferry.fence import Fence
from snapferry.indices import Index
from snapferry.journal import Journal, destination_side
from snapferry.records import Records
from snapferry.request import DomainJob
from snapferry.topic import Topic
from tests.unit.fakes import (
    Bucket,
    FakeCluster,
    FakeEvents,
    FakeIndex,
    FakeS3,
    FakeStepFunctions,
    FakeTopic,
)
from tests.unit.tables import table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_stepfunctions import SFNClient

# The time that an example takes says more about the machine than about the code.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")

TOPIC_ARN = "arn:aws:sns:eu-west-1:222222222222:snapferry"

DOMAIN_AS_DESTINATION = {
    "endpoint": "search-new-abc.eu-central-1.es.amazonaws.com",
    "region": "eu-central-1",
    "access_role_arn": "arn:aws:iam::333333333333:role/SnapferryDomainAccess",
    "snapshot_role_arn": "arn:aws:iam::333333333333:role/SnapferrySnapshot",
}

DESTINATION = destination_side("search.example.com:9200")
"""The side of the shortest input's destination in the journal."""

type MakeJob = Callable[..., DomainJob]


def document(**changes: Any) -> dict[str, Any]:
    """The shortest input of a migration, with `domain__region="x"` for a field further down."""
    whole: dict[str, Any] = {
        "domains": [
            {
                "host": "search-logs-abc.eu-west-1.es.amazonaws.com",
                "region": "eu-west-1",
                "access_role_arn": "arn:aws:iam::111111111111:role/SnapferryDomainAccess",
                "snapshot_role_arn": "arn:aws:iam::111111111111:role/SnapferrySnapshot",
                "name": "logs",
            }
        ],
        "bucket": {"name": "company-migration", "region": "eu-west-1"},
        "destination": {
            "endpoint": "search.example.com:9200",
            "secret_arn": "arn:aws:secretsmanager:eu-west-1:222222222222:secret:snapferry/a",
        },
    }
    for place, value in changes.items():
        *parents, name = place.split("__")
        part = whole
        for parent in parents:
            part = part["domains"][0] if parent == "domain" else part.setdefault(parent, {})
        part[name] = value
    return whole


@pytest.fixture
def make_job() -> MakeJob:
    """Makes the job of the shortest input with some fields changed, as `document` does."""

    def make(**changes: Any) -> DomainJob:
        [job], _ = request.parse(document(**changes), "m-1")
        return job

    return make


@pytest.fixture
def job(make_job: MakeJob) -> DomainJob:
    return make_job()


@dataclass
class Side:
    """A cluster and the product's client of it."""

    cluster: FakeCluster
    client: OpenSearch

    def index(self, name: str) -> FakeIndex:
        return self.cluster.indices[name]

    def listed(self, *names: str) -> list[Index]:
        """The indices as the product lists them, all when none is named."""
        present = indices.list_all(self.client)
        return [present[name] for name in names or present]


@pytest.fixture
def bucket() -> Bucket:
    return {}


@pytest.fixture
def source(bucket: Bucket) -> Side:
    cluster = FakeCluster(bucket)
    return Side(cluster, cluster.client("source search-logs-abc.eu-west-1.es.amazonaws.com"))


@pytest.fixture
def destination(bucket: Bucket) -> Side:
    cluster = FakeCluster(bucket)
    return Side(cluster, cluster.client("destination search.example.com:9200"))


@dataclass
class Storage:
    """Where migrations keep what they remember."""

    table: "Table"
    s3: FakeS3 = field(default_factory=FakeS3)

    @property
    def items(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What lies in the table, by migration and record."""
        return {
            (str(item["migration_id"]), str(item["record"])): item
            for item in self.table.scan()["Items"]
        }

    @property
    def records(self) -> Records:
        return self.records_of("m-1")

    @property
    def journal(self) -> Journal:
        return Journal(self.table, "m-1")

    @property
    def fence(self) -> Fence:
        return Fence(self.table, "m-1")

    def records_of(self, migration_id: str) -> Records:
        return Records(
            s3=cast("S3Client", self.s3),
            bucket="records",
            table=self.table,
            migration_id=migration_id,
        )


@pytest.fixture
def storage() -> Iterator[Storage]:
    with table() as items:
        yield Storage(items)


@dataclass
class Announcements:
    """The stack's topic, as the product sees it, and what people were told."""

    fake: FakeTopic = field(default_factory=FakeTopic)

    @property
    def topic(self) -> Topic:
        return Topic(cast("SNSClient", self.fake), TOPIC_ARN, "snapferry")

    @property
    def messages(self) -> list[dict[str, str]]:
        return self.fake.messages


@pytest.fixture
def announcements() -> Announcements:
    return Announcements()


@dataclass
class Events:
    """The stack's event bus, as the product sees it, and what was told on it."""

    fake: FakeEvents = field(default_factory=FakeEvents)

    @property
    def bus(self) -> Bus:
        return Bus(cast("EventBridgeClient", self.fake), "snapferry")


@pytest.fixture
def events() -> Events:
    return Events()


@dataclass
class Executions:
    """Executions of state machines, and the product's client of them."""

    fake: FakeStepFunctions = field(default_factory=FakeStepFunctions)

    @property
    def client(self) -> "SFNClient":
        return cast("SFNClient", self.fake)


@pytest.fixture
def executions() -> Executions:
    return Executions()
