"""The few calls to AWS that the product's functions make, answered from memory.

The sandbox's LocalStack answers them, too, but ten thousands of them take it many minutes.
"""

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override

_PAGE_BYTES = 1_000_000
_ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::111111111111:assumed-role/access/snapferry</Arn>
<AssumedRoleId>AROA:snapferry</AssumedRoleId></AssumedRoleUser></AssumeRoleResult>
</AssumeRoleResponse>"""

type Item = dict[str, dict[str, Any]]


class Memory:
    """A table, a bucket, and a secret.

    Attributes:
        items: of the table, by migration and record.
        objects: of the bucket, by key.
        calls: how many came.
    """

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Item] = {}
        self.objects: dict[str, bytes] = {}
        self.calls = 0

    def ask(self, operation: str, asked: Any) -> tuple[int, Any]:
        """Answers a call of a service that speaks JSON, by status and body."""
        match operation:
            case "PutItem":
                key = _key(asked["Item"])
                if not _holds(asked, self.items.get(key)):
                    kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
                    return 400, {"__type": kind, "message": "The conditional request failed"}
                self.items[key] = asked["Item"]
                return 200, {}
            case "BatchWriteItem":
                for writes in asked["RequestItems"].values():
                    for write in writes:
                        item = write["PutRequest"]["Item"]
                        self.items[_key(item)] = item
                return 200, {"UnprocessedItems": {}}
            case "GetItem":
                item = self.items.get(_key(asked["Key"]))
                return 200, {} if item is None else {"Item": item}
            case "DeleteItem":
                self.items.pop(_key(asked["Key"]), None)
                return 200, {}
            case "UpdateItem":  # the journal's numbers
                item = self.items.setdefault(_key(asked["Key"]), dict(asked["Key"]))
                [(_, added)] = asked["ExpressionAttributeValues"].items()
                [(_, name)] = asked["ExpressionAttributeNames"].items()
                item[name] = {"N": str(int(item.get(name, {"N": "0"})["N"]) + int(added["N"]))}
                return 200, {"Attributes": {name: item[name]}}
            case "Query":
                return 200, self._query(asked)
            case "GetSecretValue":
                secret = {"username": "snapferry", "password": "password"}
                return 200, {"ARN": asked["SecretId"], "SecretString": json.dumps(secret)}
            case "PutEvents":
                return 200, {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}
        raise NotImplementedError(operation)

    def _query(self, asked: Any) -> dict[str, Any]:
        values = {name: value["S"] for name, value in asked["ExpressionAttributeValues"].items()}
        start = asked.get("ExclusiveStartKey", {}).get("record", {}).get("S", "")
        page: list[Item] = []
        size_bytes = 0
        for migration_id, record in sorted(self.items):
            wanted = (
                record.startswith(values[":prefix"])
                if ":prefix" in values
                else values[":first"] <= record <= values[":last"]
            )
            if migration_id != values[":id"] or not wanted or record <= start:
                continue
            if size_bytes > _PAGE_BYTES:
                last = {name: page[-1][name] for name in ("migration_id", "record")}
                return {"Items": page, "Count": len(page), "LastEvaluatedKey": last}
            page.append(self.items[migration_id, record])
            size_bytes += len(json.dumps(page[-1]))
        return {"Items": page, "Count": len(page)}


def _key(item: Item) -> tuple[str, str]:
    return item["migration_id"]["S"], item["record"]["S"]


def _holds(asked: Mapping[str, Any], item: Item | None) -> bool:
    """Whether the condition of a write holds: that nothing is there, or one attribute's value."""
    condition = asked.get("ConditionExpression", "")
    if not condition or (item is None and "attribute_not_exists" in condition):
        return True
    [(name, value)] = re.findall(r"#(\w+) = (:\w+)", condition)
    return item is not None and item.get(name) == asked["ExpressionAttributeValues"][value]


@contextlib.contextmanager
def serving(memory: Memory) -> Iterator[str]:
    """Has it answer on this machine for a while; gives the endpoint of all services."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with lock:
                memory.calls += 1
                if target := self.headers.get("x-amz-target"):
                    status, answer = memory.ask(target.rpartition(".")[2], json.loads(body))
                    self._send(status, json.dumps(answer).encode())
                elif self.path == "/":
                    self._send(200, _ASSUMED.encode())
                else:
                    self._store(body)

        def _store(self, body: bytes) -> None:
            """An object by its path."""
            if self.command == "PUT" and (
                "if-none-match" not in self.headers or self.path not in memory.objects
            ):
                memory.objects[self.path] = body
                self._send(200, b"")
            elif self.command == "PUT":
                self._send(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            elif self.path in memory.objects:
                self._send(200, memory.objects[self.path])
            else:
                self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def handle_expect_100(self) -> bool:
            allowed = super().handle_expect_100()
            self.wfile.flush()
            return allowed

        do_GET = do_PUT = do_POST = _answer  # noqa: N815

        @override
        def log_message(self, *_: Any) -> None:
            pass

    lock = threading.Lock()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
