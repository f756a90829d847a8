"""What a migration remembers outside its state machines.

Facts of any size (lists of indices, results, reports) are JSON objects in the records bucket, so
that states pass names and numbers only. Progress and open gates are items of the table, where
people and tools look them up while the migration runs.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from snapferry import table
from snapferry.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Records:
    """The records of one migration.

    Attributes:
        s3: client for the records bucket.
        bucket: the records bucket's name.
        table: the table of progress and gates.
        migration_id: whose records they are.
    """

    s3: "S3Client"
    bucket: str
    table: "Table"
    migration_id: str

    def write(self, name: str, value: Any) -> str:
        """Stores a JSON value under a name such as `logs/indices-1`; returns its object key."""
        key = self._key(name)
        self._store(key, value)
        return key

    def write_page(self, name: str, page: str) -> str:
        """Stores a page of HTML under a name such as `plan`; returns its object key."""
        key = f"migrations/{self.migration_id}/{name}.html"
        self.s3.put_object(
            Bucket=self.bucket, Key=key, Body=page.encode(), ContentType="text/html; charset=utf-8"
        )
        return key

    def write_once(self, name: str, value: Any) -> None:
        """Stores a JSON value under a name, unless there is one already: that one stays.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

        Raises:
            Unavailable: where something else writes it at the same time; then try again.
        """
        try:
            self._store(self._key(name), value, IfNoneMatch="*")
        except self.s3.exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "ConditionalRequestConflict":
                raise Unavailable(f"the record {name} is written by another call, too") from error
            if code != "PreconditionFailed":
                raise

    def read(self, name: str, default: Any = None) -> Any:
        """Gives back what was stored under a name, or `default` where nothing was."""
        return self._load(self._key(name), default)

    def keep(self, name: str, value: Any) -> None:
        """Stores a JSON value that the migrations after this one find, too."""
        self._store(_kept_key(name), value)

    def kept(self, name: str, default: Any = None) -> Any:
        """Gives back what this migration or one before it has kept; `default` if none has."""
        return self._load(_kept_key(name), default)

    def put(self, record: str, **attributes: Any) -> None:
        """Writes an item of the table, such as `progress#logs`; floats become decimals."""
        self.table.put_item(Item=self._made(record, attributes))

    def put_all(self, items: Mapping[str, Mapping[str, Any]]) -> None:
        """Writes items of the table as `put` does, by their records, many with one call."""
        with self.table.batch_writer() as batch:
            for record, attributes in items.items():
                batch.put_item(Item=self._made(record, attributes))

    def item(self, record: str) -> dict[str, Any] | None:
        """The item of the table as it is now; None where there is none."""
        return table.get(self.table, self.migration_id, record)

    def items(self, prefix: str) -> Iterator[dict[str, Any]]:
        """The items of the table whose record begins so, as they are now."""
        return table.query(self.table, self.migration_id, prefix)

    def remove(self, record: str) -> None:
        """Removes an item of the table, if it is there."""
        table.delete(self.table, self.migration_id, record)

    def _made(self, record: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
        item: dict[str, Any] = json.loads(json.dumps(attributes), parse_float=Decimal)
        return item | {
            "migration_id": self.migration_id,
            "record": record,
            "updated_at": int(time.time()),
        }

    def _key(self, name: str) -> str:
        return f"migrations/{self.migration_id}/{name}.json"

    def _store(self, key: str, value: Any, **condition: Any) -> None:
        self.s3.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=json.dumps(value, indent=1).encode(),
            ContentType="application/json",
            **condition,
        )

    def _load(self, key: str, default: Any) -> Any:
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=key)
        except self.s3.exceptions.NoSuchKey:
            return default
        return json.loads(answer["Body"].read())


def _kept_key(name: str) -> str:
    return f"kept/{name}.json"
