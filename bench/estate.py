"""Clusters of any number of indices, which answer over HTTPS as OpenSearch does."""

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override
from urllib.parse import parse_qsl, urlsplit

import orjson

from snapferry_sandbox.certificates import Certificate
from tests.unit.fake_shards import FakeTailCluster, FakeTailIndex, shards
from tests.unit.fakes import FakeCluster, FakeIndex, Request, _parsed

SHARDS = 5
_FIELDS = 50
_DOCUMENTS_PER_SHARD = 2
_PRIMARY_BYTES = 5_000_000_000
# What only a cluster whose shards have operations answers as it should.
_OF_SHARDS = {
    "_block",
    "_bulk",
    "_flush",
    "_mapping",
    "_mget",
    "_msearch",
    "_refresh",
    "_search",
    "_settings",
    "_stats",
}


class Estate(FakeTailCluster):
    """A cluster whose answers are as long as those of a real one.

    Attributes:
        origin: from whose snapshots it restores.
    """

    def __init__(self, bucket: dict[str, Any], origin: "Estate | None" = None) -> None:
        super().__init__({})
        self.bucket = bucket
        self.origin = origin or self
        # It would list the names of every request's indices.
        self.room["cluster.max_shards_per_node"] = "1000000"
        self.disks = [(10**15, 10**15)]

    def fill(self, indices: int) -> None:
        """Makes indices with an alias each."""
        for number in range(indices):
            name = f"logs-application-{number:05}"
            index = FakeIndex(
                documents=SHARDS * _DOCUMENTS_PER_SHARD,
                shards=SHARDS,
                primary_bytes=_PRIMARY_BYTES,
                aliases={f"{name}-alias": {"is_write_index": True}},
                settings=_settings(name),
                mapping=_mapping(),
            )
            self.indices[name] = index
            self.tails[name] = FakeTailIndex(
                shards(SHARDS, _DOCUMENTS_PER_SHARD),
                index.uuid,
                settings=index.settings,
                mapping=index.mapping,
            )

    def write(self, every: int) -> int:
        """Writes a document into each shard of some indices; returns into how many."""
        written = list(self.tails.values())[::every]
        for index in written:
            for shard in index.shards:
                shard.index(f"{shard.number}-new")
        return len(written)

    @override
    def _carry_out(self, request: Request) -> Any:
        parts = request.path.strip("/").split("/")
        match request.method, parts:
            case _, [name, kind, *_] if name != name.lower() and kind != "_block":
                # No index can have this name.
                return FakeCluster._carry_out(self, request)
            case "GET", ["_cluster", "state", _, _]:
                return super()._carry_out(request)
            case "GET", ["_cat", "indices"]:
                return self._cat_indices({"h": request.parameters["h"]})
            case "GET", [""] | ["_tasks"]:
                return super()._carry_out(request)
            case "GET" | "DELETE", [name] if not name.startswith("_"):
                return super()._carry_out(request)
            case _, [name, kind, *_] if not name.startswith("_") and kind in _OF_SHARDS:
                return super()._carry_out(request)
        answer = FakeCluster._carry_out(self, request)
        if request.method == "POST" and parts[-1] == "_restore":
            for name in request.body["indices"].split(","):
                self.tails[name] = self.origin.tails[name].restored(self.indices[name].uuid)
        return answer

    @override
    def _status(self, repository: str, name: str) -> dict[str, Any]:
        """With every shard, as a cluster tells it."""
        status = super()._status(repository, name)
        stats = {
            "incremental": {"file_count": 60, "size_in_bytes": _PRIMARY_BYTES // SHARDS},
            "total": {"file_count": 60, "size_in_bytes": _PRIMARY_BYTES // SHARDS},
            "start_time_in_millis": 1_800_000_000_000,
            "time_in_millis": 1_000,
        }
        return status | {
            "indices": {
                index: {
                    "shards_stats": status["shards_stats"],
                    "stats": stats,
                    "shards": {
                        str(number): {"stage": "DONE", "stats": stats} for number in range(SHARDS)
                    },
                }
                for index in self._snapshot(repository, name).indices
            }
        }

    @override
    def _recovery(self, name: str) -> dict[str, Any]:
        """With everything that a cluster tells of a shard."""
        node = {
            "id": "HNCpBq4oTUelvwe63ZHs-w",
            "host": "10.0.12.115",
            "transport_address": "10.0.12.115:9300",
            "ip": "10.0.12.115",
            "name": "node-1",
        }
        recovery = super()._recovery(name)
        recovery["shards"] = [
            shard
            | {
                "id": 0,
                "stage": "DONE",
                "primary": True,
                "start_time_in_millis": 1_800_000_000_000,
                "stop_time_in_millis": 1_800_000_001_000,
                "total_time_in_millis": 1_000,
                "source": shard["source"] | {"repository": "snapferry", "index": name},
                "target": node,
                "translog": {"recovered": 0, "total": 0, "percent": "100.0%"},
                "verify_index": {"check_index_time_in_millis": 0, "total_time_in_millis": 0},
            }
            for shard in recovery["shards"]
        ]
        return recovery


def _settings(name: str) -> dict[str, Any]:
    return {
        "index.creation_date": "1800000000000",
        "index.mapping.total_fields.limit": "2000",
        "index.number_of_replicas": "1",
        "index.number_of_shards": str(SHARDS),
        "index.plugins.index_state_management.rollover_alias": f"{name}-alias",
        "index.provided_name": name,
        "index.query.default_field": "message",
        "index.refresh_interval": "30s",
        "index.version.created": "136408227",
    }


def _mapping() -> dict[str, Any]:
    keyword = {"type": "keyword", "ignore_above": 256}
    kinds = [{"type": "text", "fields": {"keyword": keyword}}, keyword, {"type": "long"}]
    return {
        "dynamic": "true",
        "properties": {
            f"attribute_{number:02}": json.loads(json.dumps(kinds[number % len(kinds)]))
            for number in range(_FIELDS)
        },
    }


@contextlib.contextmanager
def serving(estate: Estate, certificate: Certificate) -> Iterator[str]:
    """Has a cluster answer on this machine for a while; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body would otherwise wait for each other.
        wbufsize = -1

        def _answer(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with lock:
                status, answer = estate.answer(
                    Request(self.command, url.path, dict(parse_qsl(url.query)), _parsed(body))
                )
            text = answer.encode() if isinstance(answer, str) else orjson.dumps(answer)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

        @override
        def log_message(self, *_: Any) -> None:
            pass

    lock = threading.Lock()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate_file, certificate.key_file)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
