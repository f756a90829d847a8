"""Migrations on the deployed stack, as somebody would run them who answers every gate at once."""

import importlib.util
import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import boto3
from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk

from snapferry_sandbox.world import World

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LOOK_EVERY_SECONDS = 0.2
_LONGEST_MIGRATION_SECONDS = 180
_LONGEST_UPDATE_SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """How an execution of the state machine `migrate` ended."""

    migration_id: str
    status: str
    output: Any
    error: str
    cause: str


class Sandbox:
    """A world with the deployed stack.

    Args:
        world: one that is up and deployed.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.source = world.sources[0].client()
        self.destination = world.destinations[0].client()
        self._session = boto3.Session(
            region_name=world.aws.region,
            aws_access_key_id=world.aws.accounts["destination"],
            aws_secret_access_key=world.s3.accounts["destination"].secret_key,
        )
        endpoint = world.aws.endpoint
        self.executions = self._session.client("stepfunctions", endpoint_url=endpoint)
        self._functions = self._session.client("lambda", endpoint_url=endpoint)
        self._table = self._session.resource("dynamodb", endpoint_url=endpoint).Table(
            world.deployment["table"]
        )
        self._records = self._session.client("s3", endpoint_url=endpoint)

    @cached_property
    def bucket(self) -> "S3Client":
        """The migration bucket, as its owner sees it."""
        return self._session.client("s3", endpoint_url=self.world.s3.endpoint)

    def request(self, *patterns: str, **changes: Any) -> dict[str, Any]:
        """The input that moves the indices of these patterns; `domain__x=1` changes a domain."""
        deployment = self.world.deployment
        document: dict[str, Any] = {
            "domains": [
                {
                    "host": urlsplit(self.world.sources[0].domain_endpoint).netloc,
                    "region": self.world.aws.region,
                    "access_role_arn": deployment["domain_access_role"],
                    "snapshot_role_arn": deployment["snapshot_role"],
                    "master_user": {"secret_arn": deployment["domain_master_secret"]},
                    "canonical_id": self.world.s3.accounts["source"].canonical_id,
                    "name": "source",
                    "indices": {"include": list(patterns)},
                }
            ],
            "bucket": {
                "name": self.world.s3.bucket,
                "region": self.world.aws.region,
                "access": dict(deployment["bucket_access"]),
            },
            "destination": {
                "endpoint": urlsplit(self.world.destinations[0].url).netloc,
                "secret_arn": deployment["destination_secret"],
                "master_user": {"secret_arn": deployment["destination_master_secret"]},
            },
        }
        for place, value in changes.items():
            *parents, name = place.split("__")
            part = document
            for parent in parents:
                part = part["domains"][0] if parent == "domain" else part.setdefault(parent, {})
            part[name] = value
        return document

    def migrate(
        self, document: Any, at_gate: Mapping[str, Callable[[], None]] | None = None
    ) -> Outcome:
        """Runs a migration to its end; whoever is asked at a gate says yes, after `at_gate`."""
        migration_id = f"test-{uuid.uuid4().hex[:12]}"
        execution = self.executions.start_execution(
            stateMachineArn=self.world.deployment["state_machines"]["migrate"],
            name=migration_id,
            input=json.dumps(document),
        )["executionArn"]
        answered: set[str] = set()
        give_up_at = time.monotonic() + _LONGEST_MIGRATION_SECONDS
        while time.monotonic() < give_up_at:
            state = self.executions.describe_execution(executionArn=execution)
            if state["status"] != "RUNNING":
                return Outcome(
                    migration_id=migration_id,
                    status=state["status"],
                    output=json.loads(state.get("output", "null")),
                    error=state.get("error", ""),
                    cause=state.get("cause", ""),
                )
            for gate, token in self._gates(migration_id):
                if token not in answered:
                    (at_gate or {}).get(gate, lambda: None)()
                    self.executions.send_task_success(taskToken=token, output='{"approved": true}')
                    answered.add(token)
            time.sleep(_LOOK_EVERY_SECONDS)
        raise TimeoutError(f"{migration_id} runs for more than {_LONGEST_MIGRATION_SECONDS} s")

    def _gates(self, migration_id: str) -> list[tuple[str, str]]:
        answer = self._table.query(
            KeyConditionExpression="migration_id = :id AND begins_with(#record, :gate)",
            ExpressionAttributeNames={"#record": "record"},
            ExpressionAttributeValues={":id": migration_id, ":gate": "gate#"},
        )
        return [(str(item["gate"]), str(item["token"])) for item in answer["Items"]]

    def record(self, migration_id: str, name: str) -> Any:
        """A record of a migration, such as `source/verification`."""
        answer = self._records.get_object(
            Bucket=self.world.deployment["records_bucket"],
            Key=f"migrations/{migration_id}/{name}.json",
        )
        return json.loads(answer["Body"].read())

    def recorded(self, migration_id: str) -> bool:
        """Whether a migration has left any record."""
        answer = self._records.list_objects_v2(
            Bucket=self.world.deployment["records_bucket"], Prefix=f"migrations/{migration_id}/"
        )
        return bool(answer["KeyCount"])

    def repositories(self) -> dict[str, Any]:
        """The repositories of both clusters."""
        return {
            "source": self.source.snapshot.get_repository(),
            "destination": self.destination.snapshot.get_repository(),
        }

    def package(self, handler: str) -> bytes:
        """The zip that a function was deployed with."""
        answer = self._functions.get_function(FunctionName=self._function(handler))
        with urlopen(answer["Code"]["Location"]) as package:  # noqa: S310 - the sandbox's own
            content: bytes = package.read()
        return content

    @contextmanager
    def changed_code(self, handler: str, module: str, old: str, new: str) -> Iterator[None]:
        """Has a function run with one text of one of its modules changed."""
        function = self._function(handler)
        original = self.package(handler)
        # It would be taken in place of the module.
        bytecode = importlib.util.cache_from_source(module)
        altered = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(original)) as before,
            zipfile.ZipFile(altered, "w") as after,
        ):
            for name in before.namelist():
                if name == bytecode:
                    continue
                content = before.read(name)
                if name == module:
                    assert content.decode().count(old) == 1
                    content = content.decode().replace(old, new).encode()
                after.writestr(name, content)
        self._deploy_code(function, altered.getvalue())
        try:
            yield
        finally:
            self._deploy_code(function, original)

    def _function(self, handler: str) -> str:
        [name] = [
            function["FunctionName"]
            for page in self._functions.get_paginator("list_functions").paginate()
            for function in page["Functions"]
            if function["Handler"] == f"{handler}.handler"
        ]
        return name

    def _deploy_code(self, name: str, code: bytes) -> None:
        self._functions.update_function_code(FunctionName=name, ZipFile=code)
        self._functions.get_waiter("function_updated_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": _LONGEST_UPDATE_SECONDS}
        )


def fill(
    cluster: OpenSearch,
    index: str,
    documents: int,
    *,
    shards: int = 1,
    first: int = 0,
    aliases: Mapping[str, Any] | None = None,
) -> None:
    """Makes an index, if it isn't there, and writes numbered documents into it."""
    if not cluster.indices.exists(index=index):
        cluster.indices.create(
            index=index,
            body={
                "settings": {"number_of_shards": shards, "number_of_replicas": 0},
                "mappings": {"properties": {"parts": {"type": "nested"}}},
                "aliases": dict(aliases or {}),
            },
        )
    bulk(
        cluster,
        (
            {"_index": index, "_id": number, "number": number, "parts": [{"a": 1}, {"a": number}]}
            for number in range(first, first + documents)
        ),
        refresh=True,
    )
