"""Stand-ins that behave: clusters with state, and the parts of AWS that records and gates use.

A fake cluster sits where the network begins. The real client, with the product's own transport,
talks to it, so that paths, parameters, `filter_path` and the translation of errors are the real
ones. Its answers have the shape, and its refusals the words, of OpenSearch.
"""

import fnmatch
import io
import itertools
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import jsonschema
from botocore.exceptions import ClientError
from opensearchpy import Connection, OpenSearch
from opensearchpy.exceptions import OpenSearchException

from snapferry.clients import _ExplainingTransport, _Serializer
from tests.unit.fake_artifacts import FakeArtifacts, Refused

_EVENTS = json.loads((Path(__file__).parents[2] / "docs/events.schema.json").read_text())["$defs"]
"""The schemas of the events' details, by detail type."""

type Answer = tuple[int, Any]

_uuids = itertools.count(1)
_creation_times = itertools.count(1_800_000_000_000)


@dataclass
class FakeIndex:
    """An index of a fake cluster.

    Attributes:
        documents: how many it holds.
        primary_bytes: what its primaries take.
        aliases: definitions by name.
        settings: those that were set, by their flat names.
        building: replicas that aren't there yet.
        builds: whether they come when they are waited for.
        lost: primaries that aren't there, with the deciders that refuse to place them.
        created_at_milliseconds: of the epoch; a restore keeps that of the original.
        restored_bytes: copied from the snapshot; `reused_bytes` were there already.
        restored_from: the snapshot that its shards were recovered from; `restored_by` is the
            repository.
        restore_began_at: by the cluster's clock.
        mapping: of its documents.
    """

    documents: int = 10
    shards: int = 1
    replicas: int = 1
    primary_bytes: int = 1000
    open: bool = True
    aliases: dict[str, dict[str, Any]] = field(default_factory=dict)
    building: int = 0
    builds: bool = False
    lost: dict[int, dict[str, str]] = field(default_factory=dict)
    uuid: str = field(default_factory=lambda: f"uuid-{next(_uuids)}")
    created_at_milliseconds: int = field(default_factory=lambda: next(_creation_times))
    restored_bytes: int = 0
    reused_bytes: int = 0
    restored_from: str | None = None
    restored_by: str | None = None
    restore_began_at: float = 0.0
    settings: dict[str, Any] = field(default_factory=lambda: {"index.version.created": "136408227"})
    mapping: dict[str, Any] = field(default_factory=dict)


@dataclass
class FakeSnapshot:
    """A snapshot in a bucket.

    Attributes:
        indices: as they were when it was taken.
        new_bytes: what had to be copied.
        began_at: by the clock of the source.
        failures: of shards: index, number, reason.
        doomed: the state in which it ends in place of SUCCESS.
        unfinished: its list of files isn't written yet.
        version_id: of the engine that took it.
        data_streams: in it.
    """

    indices: dict[str, FakeIndex]
    new_bytes: int
    began_at: float
    failures: list[tuple[str, int, str]] = field(default_factory=list)
    doomed: str | None = None
    unfinished: bool = False
    version_id: int = 136408227
    data_streams: list[str] = field(default_factory=list)


@dataclass
class Fault:
    """What a cluster answers instead.

    Attributes:
        request: regular expression of method and path, such as `PUT /_snapshot/.*`.
        answer: status and body, or what the client raises.
        times: how often.
        takes_effect: whether the request is carried out all the same.
    """

    request: str
    answer: Answer | OpenSearchException
    times: float = 1
    takes_effect: bool = False


@dataclass(frozen=True)
class Request:
    """What a cluster was asked."""

    method: str
    path: str
    parameters: Mapping[str, str]
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


# Base path in the bucket -> name -> snapshot.
type Bucket = dict[str, dict[str, FakeSnapshot]]


class _Refused(Exception):  # noqa: N818 - it is caught two functions above
    """An answer that isn't a success."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason = status, kind, reason


class FakeCluster:
    """The part of an OpenSearch cluster that a migration touches.

    Its clock stands still until `pass_time` moves it, which tests give to the product as `sleep`.

    Attributes:
        bucket: shared by a source and a destination.
        indices: by name.
        repositories: settings by name.
        automated: when the service's own snapshots began, in seconds of the epoch, by repository.
        snapshots_of_others: that run.
        faults: what it answers instead; the first that matches.
        requests: all that came, for tests of what is sent.
        bytes_per_second: how fast it copies.
        settings: of the cluster by scope; `defaults` names those that it knows.
        fixed_settings: those of them that nobody may change.
        artifacts: templates and the like.
        room: settings of the cluster that say what it takes, by their defaults.
        node_versions: of each node.
        plugins: that each node has.
        disks: of each node, the bytes in all and those that are free.
        data_streams: the backing indices of each.
        cold: names of indices in Amazon's cold storage; None where there is no such storage.
    """

    def __init__(self, bucket: Bucket, *, bytes_per_second: float = math.inf) -> None:
        self.bucket = bucket
        self.indices: dict[str, FakeIndex] = {}
        self.repositories: dict[str, dict[str, Any]] = {}
        self.automated: dict[str, list[float]] = {}
        self.snapshots_of_others: list[dict[str, Any]] = []
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.bytes_per_second = bytes_per_second
        self.now_seconds = 0.0
        self.settings: dict[str, dict[str, str]] = {
            "persistent": {},
            "transient": {},
            "defaults": {
                "cluster.routing.allocation.node_concurrent_recoveries": "2",
                "cluster.routing.allocation.node_initial_primaries_recoveries": "4",
                "cluster.snapshot.info.max_concurrent_fetches": "5",
                "indices.recovery.max_bytes_per_sec": "40mb",
                "indices.recovery.max_concurrent_file_chunks": "2",
            },
        }
        self.fixed_settings: set[str] = set()
        self.artifacts = FakeArtifacts()
        self.room = {
            "cluster.max_shards_per_node": "1000",
            "cluster.routing.allocation.disk.watermark.low": "85%",
        }
        self.node_versions = ["3.6.0"]
        self.plugins: set[str] = set()
        self.disks = [(1_000_000_000, 900_000_000)] * 2
        self.data_streams: dict[str, list[str]] = {}
        self.cold: list[str] | None = None

    def client(self, name: str) -> OpenSearch:
        """A client of this cluster, like those that `snapferry.clients` makes."""
        return OpenSearch(
            hosts=[{"host": "cluster.example", "port": 443}],
            connection_class=_FakeConnection,
            transport_class=_ExplainingTransport,
            cluster=name,
            serializer=_Serializer(),
            fake=self,
            max_retries=0,
        )

    def pass_time(self, seconds: float) -> None:
        self.now_seconds += seconds

    def sent(self, pattern: str) -> list[Request]:
        """The requests whose method and path match."""
        return [
            request
            for request in self.requests
            if re.fullmatch(pattern, f"{request.method} {request.path}")
        ]

    def answer(self, request: Request) -> Answer:
        """Carries out a request."""
        self.requests.append(request)
        line = f"{request.method} {request.path}"
        for fault in self.faults:
            if fault.times > 0 and re.fullmatch(fault.request, line):
                fault.times -= 1
                if fault.takes_effect:
                    self._carry_out(request)
                if isinstance(fault.answer, OpenSearchException):
                    raise fault.answer
                return fault.answer
        try:
            answer = self._carry_out(request)
        except _Refused as refusal:
            cause = {"type": refusal.kind, "reason": refusal.reason}
            return refusal.status, {
                "error": {"root_cause": [cause], **cause},
                "status": refusal.status,
            }
        if paths := request.parameters.get("filter_path"):
            answer = _filtered(answer, [path.split(".") for path in paths.split(",")])
        return 200, answer

    def _carry_out(self, request: Request) -> Any:
        try:
            found = self.artifacts.answer(request.method, request.path, request.body)
        except Refused as refused:
            raise _Refused(*refused.refusal) from None
        if found is not None:
            return found
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        match request.method, parts:
            case "GET", ["_cat", "indices"]:
                return self._cat_indices(request.parameters)
            case "GET", ["_cat", "nodes"]:
                return [{"version": version} for version in self.node_versions]
            case "GET", ["_cat", "plugins"]:
                return [
                    {"name": f"node-{number}", "component": plugin}
                    for number, _ in enumerate(self.node_versions)
                    for plugin in sorted(self.plugins)
                ]
            case "GET", ["_cat", "allocation"]:
                return [
                    {"node": f"node-{number}", "disk.total": str(total), "disk.avail": str(free)}
                    for number, (total, free) in enumerate(self.disks)
                ] + [{"node": "UNASSIGNED", "disk.total": None, "disk.avail": None}]
            case "GET", ["_cold", "indices", "_search"]:
                return self._search_cold(request.body)
            case "GET", [names, "_mapping"] if names == names.lower():
                return {name: {"mappings": self._index(name).mapping} for name in names.split(",")}
            case "GET", ["_cluster", "state", "metadata"]:
                streams = {
                    stream: {"indices": [{"index_name": name} for name in names]}
                    for stream, names in self.data_streams.items()
                }
                return {
                    "metadata": {
                        "data_stream": {"data_stream": streams},
                        "stored_scripts": self.artifacts.of("_scripts"),
                    }
                }
            case "GET", ["_snapshot"]:
                automated = {name: {"type": "s3"} for name in self.automated}
                return automated | {
                    name: {"type": "s3", "settings": settings}
                    for name, settings in self.repositories.items()
                }
            case "GET", ["_snapshot", "_status"]:
                return {"snapshots": self.snapshots_of_others}
            case "GET", ["_cat", "snapshots", repository]:
                starts = sorted(self.automated[repository])
                return [{"start_epoch": str(round(start))} for start in starts]
            case "GET", ["_snapshot", repository]:
                self._path(repository)
                return {repository: {"type": "s3", "settings": self.repositories[repository]}}
            case "PUT", ["_snapshot", repository]:
                self.repositories[repository] = request.body["settings"]
                return {"acknowledged": True}
            case "DELETE", ["_snapshot", repository]:
                self._path(repository)
                del self.repositories[repository]
                return {"acknowledged": True}
            case "GET", ["_snapshot", repository, name]:
                return self._get_snapshots(repository, name, request.parameters)
            case "PUT", ["_snapshot", repository, name]:
                return self._create_snapshot(repository, name, request.body)
            case "DELETE", ["_snapshot", repository, name]:
                self._snapshot(repository, name)
                del self._path(repository)[name]
                return {"acknowledged": True}
            case "GET", ["_snapshot", repository, name, "_status"]:
                return {"snapshots": [self._status(repository, name)]}
            case "POST", ["_snapshot", repository, name, "_restore"]:
                return self._restore(repository, name, request.body)
            case "POST", [names, "_close"]:
                for name in names.split(","):
                    self._refuse_blocked(name)
                    self._index(name).open = False
                return {"acknowledged": True, "shards_acknowledged": True}
            case "HEAD", [name]:
                self._index(name)
                return {}
            case "DELETE", [names]:
                for name in names.split(","):
                    self._refuse_blocked(name)
                    del self.indices[name]
                return {"acknowledged": True}
            case "GET", [names, "_recovery"]:
                found = {name: self._recovery(name) for name in names.split(",")}
                # What is asked for is left of each shard, and nothing of an index without any.
                return {name: index for name, index in found.items() if index["shards"]}
            case "GET", ["_cluster", "health"]:
                return {"indices": {name: self._health(name) for name in self.indices}}
            case "GET", ["_cluster", "health", names]:
                if "timeout" in request.parameters:
                    return self._wait_for_replicas(names.split(","), request.parameters["timeout"])
                building = sum(self._index(name).building for name in names.split(","))
                return {"initializing_shards": building}
            case "GET", ["_cluster", "settings"]:
                return self._get_settings(request.parameters)
            case "PUT", ["_cluster", "settings"]:
                return self._put_settings(request.body)
            case "GET" | "POST", ["_cluster", "allocation", "explain"]:
                return self._explain_allocation(request.body)
            case "GET", ["_alias"]:
                return {name: {"aliases": index.aliases} for name, index in self.indices.items()}
            case "POST", ["_aliases"]:
                return self._update_aliases(request.body["actions"])
            case "POST", [names, "_refresh" | "_flush"]:
                return {"_shards": self._shards(names)}
            case "GET", [names, "_settings"]:
                there = names.split(",")
                if request.parameters.get("ignore_unavailable") == "true":
                    there = [name for name in there if name in self.indices]
                return {name: {"settings": self._index(name).settings} for name in there}
            case "PUT", [names, "_settings"]:
                for name in names.split(","):
                    self._index(name).settings |= request.body
                return {"acknowledged": True}
            case "GET", ["_tasks"]:
                return {"tasks": []}
            case "POST", [names, "_search"]:
                return self._count(names, request.body)
            case "GET", [""]:
                # Too old to be caught up: tests of that have clusters of their own.
                return {"version": {"number": "6.6.0"}}
            case "GET", ["_cluster", "state" | "pending_tasks", *_]:
                return {}
            case "POST", ["_bulk"]:
                return {"errors": True, "items": []}
            case "GET", [names] if request.parameters.get("ignore_unavailable") == "true":
                return {
                    name: {
                        "mappings": self.indices[name].mapping,
                        "settings": self.indices[name].settings,
                    }
                    for name in names.split(",")
                    if name in self.indices
                }
            case _, ["_snapshot", repository, *_]:
                self._path(repository)
            case "PUT", [name, *_] if name != name.lower():
                raise _Refused(400, "invalid_index_name_exception", f"[{name}], must be lowercase")
            case _, [name, *_]:
                self._index(name)
        raise NotImplementedError(f"{request.method} {request.path}")

    def _index(self, name: str) -> FakeIndex:
        if name not in self.indices:
            raise _Refused(404, "index_not_found_exception", f"no such index [{name}]")
        return self.indices[name]

    def _refuse_blocked(self, name: str) -> None:
        if self._index(name).settings.get("index.blocks.read_only") == "true":
            reason = f"index [{name}] blocked by: [FORBIDDEN/5/index read-only (api)];"
            raise _Refused(403, "cluster_block_exception", reason)

    def _path(self, repository: str) -> dict[str, FakeSnapshot]:
        if repository not in self.repositories:
            raise _Refused(404, "repository_missing_exception", f"[{repository}] missing")
        return self.bucket.setdefault(self.repositories[repository]["base_path"], {})

    def _snapshot(self, repository: str, name: str) -> FakeSnapshot:
        snapshots = self._path(repository)
        if name not in snapshots:
            raise _Refused(404, "snapshot_missing_exception", f"[{repository}:{name}] is missing")
        return snapshots[name]

    def _cat_indices(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        # Unknown before 7.7, when hidden indices came.
        if "expand_wildcards" in parameters:
            raise _Refused(
                400,
                "illegal_argument_exception",
                "request [/_cat/indices] contains unrecognized parameter: [expand_wildcards]",
            )
        rows = [
            {
                "index": name,
                "uuid": index.uuid,
                "status": "open" if index.open else "close",
                "pri": str(index.shards),
                "rep": str(index.replicas),
                "pri.store.size": str(index.primary_bytes) if index.open else None,
                "creation.date": str(index.created_at_milliseconds),
            }
            for name, index in self.indices.items()
        ]
        return [{name: row[name] for name in parameters["h"].split(",")} for row in rows]

    def _search_cold(self, page: Any) -> dict[str, Any]:
        """One index a page, to show that all pages are read."""
        if self.cold is None:
            raise _Refused(400, "", "no handler found for uri [/_cold/indices/_search]")
        begin = int(page.get("pagination_id", 0))
        return {
            "pagination_id": str(begin + 1),
            "total_results": len(self.cold),
            "indices": [{"index": name} for name in self.cold[begin : begin + 1]],
        }

    def _copied_bytes(self, total: int, began_at: float) -> int:
        elapsed_seconds = self.now_seconds - began_at
        if math.isinf(self.bytes_per_second):
            return total
        return min(total, int(elapsed_seconds * self.bytes_per_second))

    def _state(self, snapshot: FakeSnapshot) -> str:
        copied_bytes = self._copied_bytes(snapshot.new_bytes, snapshot.began_at)
        if copied_bytes < snapshot.new_bytes or snapshot.unfinished:
            return "IN_PROGRESS"
        return snapshot.doomed or "SUCCESS"

    def _get_snapshots(
        self, repository: str, name: str, parameters: Mapping[str, str]
    ) -> dict[str, Any]:
        snapshots = self._path(repository)
        names = fnmatch.filter(sorted(snapshots), name) if "*" in name else [name]
        if parameters.get("ignore_unavailable") == "true":
            names = [name for name in names if name in snapshots]
        found = {name: self._snapshot(repository, name) for name in names}
        return {
            "snapshots": [
                {
                    "snapshot": name,
                    "state": self._state(snapshot),
                    "version_id": snapshot.version_id,
                    "start_time_in_millis": int(snapshot.began_at * 1000),
                    "duration_in_millis": int((self.now_seconds - snapshot.began_at) * 1000),
                    "indices": sorted(snapshot.indices),
                    "data_streams": snapshot.data_streams,
                    "failures": [
                        {"index": index, "shard_id": shard, "reason": reason}
                        for index, shard, reason in snapshot.failures
                        if self._state(snapshot) != "IN_PROGRESS"
                    ],
                }
                for name, snapshot in found.items()
            ]
        }

    def _create_snapshot(self, repository: str, name: str, body: Any) -> dict[str, Any]:
        snapshots = self._path(repository)
        if self.repositories[repository].get("readonly") == "true":
            raise _Refused(
                500, "repository_exception", f"[{repository}] cannot create snapshot in a readonly"
            )
        if name in snapshots:
            raise _Refused(
                400,
                "invalid_snapshot_name_exception",
                f"[{repository}:{name}] Invalid snapshot name [{name}], snapshot with the same "
                "name already exists",
            )
        if running := [n for n, other in snapshots.items() if self._state(other) == "IN_PROGRESS"]:
            raise _Refused(
                503,
                "concurrent_snapshot_execution_exception",
                f"[{repository}:{running[0]}] a snapshot is already running",
            )
        names = [
            match
            for name in body["indices"].split(",")
            for match in (fnmatch.filter(self.indices, name) if "*" in name else [name])
        ]
        taken = {name: replace(self._index(name)) for name in names}
        known = {
            index.uuid: index.primary_bytes
            for other in snapshots.values()
            for index in other.indices.values()
        }
        snapshots[name] = FakeSnapshot(
            indices=taken,
            new_bytes=sum(i.primary_bytes - known.get(i.uuid, 0) for i in taken.values()),
            began_at=self.now_seconds,
        )
        return {"accepted": True}

    def _status(self, repository: str, name: str) -> dict[str, Any]:
        snapshot = self._snapshot(repository, name)
        done = self._copied_bytes(snapshot.new_bytes, snapshot.began_at)
        total = sum(index.primary_bytes for index in snapshot.indices.values())
        shards = sum(index.shards for index in snapshot.indices.values())
        ended = done == snapshot.new_bytes
        failed = len(snapshot.failures)
        # Lucene files of a fixed size, for the sake of the numbers.
        stats = {
            "incremental": {
                "file_count": snapshot.new_bytes // 100,
                "size_in_bytes": snapshot.new_bytes,
            },
            "total": {"file_count": total // 100, "size_in_bytes": total},
            "start_time_in_millis": int(snapshot.began_at * 1000),
            "time_in_millis": int((self.now_seconds - snapshot.began_at) * 1000),
        }
        if done // 100 != snapshot.new_bytes // 100:
            stats["processed"] = {"file_count": done // 100, "size_in_bytes": done}
        return {
            "snapshot": name,
            "repository": repository,
            # A partial snapshot is shown as a success here, and nowhere else.
            "state": ("FAILED" if snapshot.doomed == "FAILED" else "SUCCESS")
            if ended
            else "STARTED",
            "shards_stats": {
                "done": shards - failed if ended else 0,
                "failed": failed,
                "total": shards,
            },
            "stats": stats,
            "indices": {
                name: {
                    "shards_stats": {"total": index.shards},
                    "stats": {"total": {"size_in_bytes": index.primary_bytes}},
                }
                for name, index in snapshot.indices.items()
            },
        }

    def _restore(self, repository: str, name: str, body: Any) -> dict[str, Any]:
        snapshot = self._snapshot(repository, name)
        replacement = body.get("rename_replacement", "$1")
        taken = {
            replacement.replace("$1", index): snapshot.indices[index]
            for index in body["indices"].split(",")
        }
        for index, copy in taken.items():
            present = self.indices.get(index)
            refusal = None
            if present and present.open:
                refusal = (
                    f"cannot restore index [{index}] because an open index with same name already "
                    "exists in the cluster. Either close or delete the existing index or restore "
                    "the index under a different name by providing a rename pattern and "
                    "replacement name"
                )
            elif present and present.shards != copy.shards:
                refusal = (
                    f"cannot restore index [{index}] with [{present.shards}] shards from a "
                    f"snapshot of index [{index}] with [{copy.shards}] shards"
                )
            if refusal:
                raise _Refused(500, "snapshot_restore_exception", f"[{repository}] {refusal}")
        replicas = body.get("index_settings", {}).get("index.number_of_replicas")
        for index, copy in taken.items():
            present = self.indices.get(index)
            reused_bytes = min(present.primary_bytes, copy.primary_bytes) if present else 0
            self.indices[index] = replace(
                copy,
                settings={
                    setting: value
                    for setting, value in copy.settings.items()
                    if not fnmatch.fnmatchcase(setting, body.get("ignore_index_settings", ""))
                },
                aliases=copy.aliases if body["include_aliases"] else {},
                replicas=copy.replicas if replicas is None else replicas,
                uuid=present.uuid if present else f"uuid-{next(_uuids)}",
                reused_bytes=reused_bytes,
                restored_bytes=copy.primary_bytes - reused_bytes,
                restored_from=name,
                restored_by=repository,
                restore_began_at=self.now_seconds,
            )
        return {"accepted": True}

    def _recovery(self, name: str) -> dict[str, Any]:
        index = self._index(name)
        done = self._copied_bytes(index.restored_bytes, index.restore_began_at)
        size = {
            "total_in_bytes": index.restored_bytes + index.reused_bytes,
            "reused_in_bytes": index.reused_bytes,
            "recovered_in_bytes": done,
        }
        restored: dict[str, Any] = {
            "type": "SNAPSHOT",
            "source": {"repository": index.restored_by, "snapshot": index.restored_from},
            "index": {
                "size": {key: value // index.shards for key, value in size.items()},
                "files": {
                    "total": 10,
                    "reused": 10 * index.reused_bytes // max(1, size["total_in_bytes"]),
                    "recovered": 10 * done // max(1, size["total_in_bytes"]),
                },
            },
        }
        made_here = {"type": "EMPTY_STORE", "source": {}, "index": restored["index"]}
        copied = {"type": "PEER", "source": {"name": "node-1"}, "index": restored["index"]}
        first = restored if index.restored_from else made_here
        # A shard whose recovery failed isn't listed.
        primaries = [first for number in range(index.shards) if number not in index.lost]
        return {"shards": primaries + [copied] * (index.shards * index.replicas - index.building)}

    def _primary_active(self, index: FakeIndex, number: int) -> bool:
        done = self._copied_bytes(index.restored_bytes, index.restore_began_at)
        return number not in index.lost and done == index.restored_bytes

    def _health(self, name: str) -> dict[str, Any]:
        index = self.indices[name]
        active = {number: self._primary_active(index, number) for number in range(index.shards)}
        unassigned = index.building + len(index.lost) * (1 + index.replicas)
        green_or_yellow = "yellow" if index.building else "green"
        return {
            "status": green_or_yellow if all(active.values()) else "red",
            "unassigned_shards": unassigned,
            "shards": {
                str(number): {"primary_active": is_active} for number, is_active in active.items()
            },
        }

    def _wait_for_replicas(self, names: Sequence[str], timeout: str) -> Any:
        indices = [self._index(name) for name in names]
        for index in indices:
            if index.builds:
                index.building = 0
        if any(index.building for index in indices):
            self.pass_time(int(timeout.removesuffix("ms")) / 1000)
            raise _Refused(408, "timeout", "the cluster did not become green")
        return {"timed_out": False}

    def _get_settings(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        if parameters.get("flat_settings") != "true":
            raise NotImplementedError("nested settings")
        explicit = {scope: dict(self.settings[scope]) for scope in ("persistent", "transient")}
        if parameters.get("include_defaults") != "true":
            return explicit
        given = explicit["persistent"].keys() | explicit["transient"].keys()
        defaults = {**self.settings["defaults"], **self.room}.items()
        return {**explicit, "defaults": {k: v for k, v in defaults if k not in given}}

    def _put_settings(self, body: Any) -> dict[str, Any]:
        [(scope, values)] = body.items()
        [(name, value)] = values.items()
        if name not in self.settings["defaults"]:
            raise _Refused(400, "settings_exception", f"{scope} setting [{name}], not recognized")
        if name in self.fixed_settings:
            raise _Refused(401, "", "Your request: '/_cluster/settings' payload is not allowed.")
        if value is None:
            self.settings[scope].pop(name, None)
        else:
            self.settings[scope][name] = str(value)
        return {"acknowledged": True}

    def _explain_allocation(self, body: Any) -> dict[str, Any]:
        index = self._index(body["index"])
        refusals = index.lost.get(body["shard"])
        if refusals is None:
            active = self._primary_active(index, body["shard"])
            return {"current_state": "started" if active else "initializing"}
        return {
            "current_state": "unassigned",
            "unassigned_info": {
                "reason": "NEW_INDEX_RESTORED",
                "details": f"restore_source[{index.restored_from}]",
            },
            "can_allocate": "no",
            "node_allocation_decisions": [
                {
                    "node_name": f"node-{number}",
                    "deciders": [
                        {"decider": decider, "decision": "NO", "explanation": explanation}
                        for decider, explanation in refusals.items()
                    ],
                }
                for number in (1, 2)
            ],
        }

    def _update_aliases(self, actions: Sequence[dict[str, dict[str, Any]]]) -> dict[str, Any]:
        for action in actions:
            [(kind, arguments)] = action.items()
            index = self._index(arguments["index"])
            if kind == "remove":
                del index.aliases[arguments["alias"]]
            else:
                index.aliases[arguments["alias"]] = {
                    key: value for key, value in arguments.items() if key not in ("index", "alias")
                }
        return {"acknowledged": True}

    def _shards(self, names: str) -> dict[str, int]:
        indices = [self._index(name) for name in names.split(",")]
        failed = sum(len(index.lost) for index in indices)
        total = sum(index.shards for index in indices)
        return {"total": total, "successful": total - failed, "failed": failed}

    def _count(self, names: str, body: Any) -> dict[str, Any]:
        counts = {name: self._index(name).documents for name in names.split(",")}
        buckets = [
            {"key": name, "doc_count": documents} for name, documents in counts.items() if documents
        ]
        size = body["aggs"]["indices"]["terms"]["size"]
        return {
            "timed_out": False,
            "_shards": self._shards(names),
            "aggregations": {"indices": {"buckets": buckets[:size]}},
        }


class _FakeConnection(Connection):
    """Where the real connection would go to the network."""

    def __init__(self, *, fake: FakeCluster, **options: Any) -> None:
        super().__init__(**options)
        self._fake = fake

    def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        timeout: float | None = None,  # noqa: ARG002
        ignore: Collection[int] = (),  # noqa: ARG002
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        parameters = {
            name: value.decode() if isinstance(value, bytes) else str(value)
            for name, value in (params or {}).items()
        }
        status, answer = self._fake.answer(
            Request(method, url, parameters, _parsed(body), headers or {})
        )
        is_json = not isinstance(answer, str)
        raw = json.dumps(answer) if is_json else answer
        content_type = "application/json" if is_json else "text/html"
        if not 200 <= status < 300:
            self._raise_error(status, raw, content_type)
        return status, {"content-type": content_type}, raw


def _parsed(body: bytes | None) -> Any:
    """A body of one value, or of one in each line; a form stays the text that it is."""
    if body and body.startswith(b"--"):
        return body.decode()
    if body and body.endswith(b"\n"):
        return [json.loads(line) for line in body.splitlines()]
    return json.loads(body) if body else None


def _filtered(answer: Any, paths: Iterable[Sequence[str]]) -> Any:
    """Keeps what a `filter_path` names, as the cluster does."""
    if not isinstance(answer, dict):
        return [_filtered(item, paths) for item in answer] if isinstance(answer, list) else answer
    kept = {}
    for key, value in answer.items():
        rests = [path[1:] for path in paths if path[0] in ("*", key)]
        if any(not rest for rest in rests):
            kept[key] = value
        elif rests and (inner := _filtered(value, rests)) not in ({}, []):
            kept[key] = inner
    return kept


class _NoSuchKey(Exception):  # noqa: N818 - the name that boto3 gives it
    """An object that isn't there."""


class FakeS3:
    """A bucket's objects by their keys.

    Attributes:
        objects: by key.
        races: so many conditional writes meet another one to the same key.
    """

    exceptions = SimpleNamespace(NoSuchKey=_NoSuchKey, ClientError=ClientError)

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.races = 0

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: ARG002, N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ContentType: str,  # noqa: ARG002, N803
        IfNoneMatch: str | None = None,  # noqa: N803
    ) -> None:
        if IfNoneMatch and self.races:
            self.races -= 1
            raise ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")
        if IfNoneMatch and Key in self.objects:
            raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "PutObject")
        self.objects[Key] = Body

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: ARG002, N803
        if Key not in self.objects:
            raise _NoSuchKey(Key)
        return {"Body": io.BytesIO(self.objects[Key])}


class FakeTable:
    """The items of a DynamoDB table by migration and record; it refuses floats as boto3 does."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}

    def put_item(self, *, Item: dict[str, Any]) -> None:  # noqa: N803
        if any(isinstance(value, float) for value in _leaves(Item)):
            raise TypeError("Float types are not supported. Use Decimal types instead.")
        self.items[Item["migration_id"], Item["record"]] = Item

    def get_item(self, *, Key: dict[str, str], ConsistentRead: bool) -> dict[str, Any]:  # noqa: ARG002, N803
        item = self.items.get((Key["migration_id"], Key["record"]))
        return {} if item is None else {"Item": item}

    def query(self, *, ExpressionAttributeValues: dict[str, str], **_: Any) -> dict[str, Any]:  # noqa: N803
        values = ExpressionAttributeValues
        return {
            "Items": [
                item
                for (migration_id, record), item in self.items.items()
                if migration_id == values[":id"] and record.startswith(values[":prefix"])
            ]
        }


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


class FakeTopic:
    """The messages of SNS topics; it refuses subjects that SNS refuses."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []

    def publish(self, *, TopicArn: str, Subject: str, Message: str) -> None:  # noqa: N803
        if not re.fullmatch(r"[ -~]{1,100}", Subject):
            raise ValueError("Invalid parameter: Subject")
        self.messages.append({"topic": TopicArn, "subject": Subject, "message": Message})


class FakeEvents:
    """The events of an EventBridge bus; it refuses those that aren't as documented."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.refuses = False

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        if self.refuses:
            return {
                "FailedEntryCount": len(Entries),
                "Entries": [{"ErrorCode": "ThrottlingException"} for _ in Entries],
            }
        for entry in Entries:
            assert (entry["Source"], entry["EventBusName"]) == ("snapferry", "snapferry")
            detail = json.loads(entry["Detail"])
            jsonschema.validate(detail, _EVENTS[entry["DetailType"]])
            self.told.append((entry["DetailType"], detail))
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in Entries]}


class _ExecutionDoesNotExist(Exception):  # noqa: N818 - the name that boto3 gives it
    """An execution that never was, or was forgotten."""


@dataclass
class FakeExecution:
    """An execution of a state machine.

    Attributes:
        status: as Step Functions names it.
        children: the ARNs of the executions that it asked for and waited for.
        error: with which it was stopped.
        input: with which it was started.
    """

    status: str = "RUNNING"
    children: list[str] = field(default_factory=list)
    error: str | None = None
    input: Any = None


class FakeStepFunctions:
    """Executions by their ARNs; the history of each comes an event a page."""

    exceptions = SimpleNamespace(ExecutionDoesNotExist=_ExecutionDoesNotExist)

    def __init__(self) -> None:
        self.executions: dict[str, FakeExecution] = {}

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        return {"status": self._execution(executionArn).status}

    def stop_execution(self, *, executionArn: str, error: str, cause: str) -> None:  # noqa: ARG002, N803
        execution = self._execution(executionArn)
        execution.status, execution.error = "ABORTED", error

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> None:  # noqa: N803
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name):
            raise ValueError("InvalidName")
        execution_arn = f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"
        self.executions[execution_arn] = FakeExecution(input=json.loads(input))

    def get_paginator(self, operation: str) -> SimpleNamespace:
        assert operation == "get_execution_history"
        return SimpleNamespace(paginate=self._history)

    def _history(
        self,
        *,
        executionArn: str,  # noqa: N803
        includeExecutionData: bool,  # noqa: N803
    ) -> Iterator[dict[str, Any]]:
        yield {"events": [{"type": "ExecutionStarted", "executionStartedEventDetails": {}}]}
        for child in self._execution(executionArn).children:
            machine, _, name = child.replace(":execution:", ":stateMachine:").rpartition(":")
            asked = {"StateMachineArn": machine, "Name": name, "Input": {}}
            yield self._scheduled("states", "startExecution.sync:2", asked, includeExecutionData)
        yield self._scheduled("lambda", "invoke.waitForTaskToken", {}, includeExecutionData)

    def _scheduled(self, kind: str, resource: str, asked: Any, with_data: bool) -> dict[str, Any]:
        details = {"resourceType": kind, "resource": resource}
        if with_data:
            details["parameters"] = json.dumps(asked)
        return {"events": [{"type": "TaskScheduled", "taskScheduledEventDetails": details}]}

    def _execution(self, execution_arn: str) -> FakeExecution:
        if execution_arn not in self.executions:
            raise _ExecutionDoesNotExist(execution_arn)
        return self.executions[execution_arn]
