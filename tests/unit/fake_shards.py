"""A fake cluster whose shards have operations: numbered, durable or not, visible or not."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.unit.fakes import FakeCluster, Request, _Refused

REPLICA_STATS = {
    "routing": {"primary": False, "node": "node-of-replica"},
    "docs": {"count": 1},
    "indexing": {"delete_total": 0},
    "seq_no": {"max_seq_no": 1, "global_checkpoint": 1},
    "commit": {"user_data": {"history_uuid": "history-of-replica"}},
}
"""What a copy says that lags behind its primary."""


@dataclass(frozen=True)
class Stored:
    """A document as a shard holds it."""

    seq_no: int
    version: int
    source: dict[str, Any]
    routing: str | None = None


@dataclass
class FakeShard:
    """The primary of a shard.

    Attributes:
        documents: as the last operations left them.
        visible: as they were at the last refresh.
        max_seq_no: of its operations.
        lagging: how many of the last operations the other copies don't have yet.
        tombstones: versions of deleted documents that aren't forgotten yet.
        read_back: documents that a client has written and read since the last refresh: statistics
            count them, searches don't show them.
    """

    number: int
    node: str = "node-1"
    allocation: int = 1
    term: int = 1
    history: str = "history-1"
    documents: dict[str, Stored] = field(default_factory=dict)
    visible: dict[str, Stored] = field(default_factory=dict)
    max_seq_no: int = -1
    lagging: int = 0
    unknown_checkpoint: bool = False
    deletions: int = 0
    tombstones: dict[str, int] = field(default_factory=dict)
    read_back: int = 0

    @property
    def global_checkpoint(self) -> int:
        return -2 if self.unknown_checkpoint else self.max_seq_no - self.lagging

    def index(
        self,
        key: str,
        source: dict[str, Any] | None = None,
        version: int | None = None,
        routing: str | None = None,
    ) -> int:
        """Writes a document; returns its sequence number."""
        before = self.documents.get(key)
        self.max_seq_no += 1
        self.documents[key] = Stored(
            self.max_seq_no,
            version or (before.version + 1 if before else 1),
            source or {"written": self.max_seq_no},
            routing,
        )
        return self.max_seq_no

    def delete(self, key: str) -> None:
        self.max_seq_no += 1
        self.deletions += 1
        self.documents.pop(key, None)

    def refresh(self) -> None:
        self.visible = dict(self.documents)
        self.read_back = 0

    def fail_over(self, documents: Mapping[str, Stored], max_seq_no: int) -> None:
        """Another copy, which has these documents, becomes the primary."""
        self.term += 1
        self.allocation += 1
        self.deletions = 0
        self.documents = dict(documents)
        self.max_seq_no = max_seq_no
        self.lagging = 0
        self.refresh()

    def restart(self) -> None:
        """Its node starts again, and it counts anew."""
        self.term += 1
        self.deletions = 0

    def move(self) -> None:
        """It moves to another node, and counts anew."""
        self.allocation += 1
        self.node = f"node-{self.allocation}"
        self.deletions = 0


@dataclass
class FakeTailIndex:
    """An index.

    Attributes:
        hides: documents that the caller's role doesn't show.
        masks: fields that it shows otherwise than they are.
        is_open: whether it isn't closed.
        nested: how many nested documents each document has, in the field `parts`.
        unwaited_blocks: so many blocks of writes don't see the end of all that run.
        unfinished_block: whether one is there for that; its setting doesn't show it.
    """

    shards: list[FakeShard]
    uuid: str = "uuid-1"
    settings: dict[str, Any] = field(default_factory=lambda: {"index.version.created": "136357827"})
    mapping: dict[str, Any] = field(default_factory=dict)
    hides: set[str] = field(default_factory=set)
    masks: set[str] = field(default_factory=set)
    is_open: bool = True
    nested: int = 0
    unwaited_blocks: int = 0
    unfinished_block: bool = False

    def block(self) -> bool:
        """Blocks writes; returns whether it has waited for all that run."""
        self.settings["index.blocks.write"] = "true"
        self.unfinished_block = self.unwaited_blocks > 0
        self.unwaited_blocks -= self.unfinished_block
        return not self.unfinished_block

    def flush(self) -> None:
        """Makes durable what was acknowledged before it was."""
        if self.settings.get("index.translog.durability", "").lower() == "async":
            for shard in self.shards:
                shard.lagging = 0

    def shown(self, stored: Stored) -> dict[str, Any]:
        """A document as the caller's role shows it."""
        return stored.source | dict.fromkeys(stored.source.keys() & self.masks, "d2f9")

    def restored(self, uuid: str) -> "FakeTailIndex":
        """What a restore of its snapshot makes of it."""
        return replace(
            self,
            uuid=uuid,
            settings=dict(self.settings),
            mapping=dict(self.mapping),
            hides=set(),
            masks=set(),
            shards=[
                FakeShard(
                    number=shard.number,
                    history="history-restored",
                    documents=dict(shard.documents),
                    visible=dict(shard.documents),
                    max_seq_no=shard.max_seq_no,
                )
                for shard in self.shards
            ],
        )


class FakeTailCluster(FakeCluster):
    """The part of a cluster that the tail touches.

    Attributes:
        tails: indices by name.
        version: what the cluster says of itself.
        before: what happens before requests that match are answered, once each.
        tasks: opaque ids of writes that run; each look at them sees one end.
        refreshes_to_forget: after so many the version of a deleted document is forgotten.
        building: how many replicas are being built.
        counts_up_to: where the total of a search ends that doesn't ask for all of it.
        no_room_for: ids of documents that are refused once for lack of room.
    """

    def __init__(self, tails: dict[str, FakeTailIndex]) -> None:
        super().__init__({})
        self.tails = tails
        self.version: dict[str, Any] = {"distribution": "opensearch", "number": "3.6.0"}
        self.before: list[tuple[str, Callable[[], object]]] = []
        self.tasks: list[str] = []
        self.refreshes_to_forget = 1
        self.building = 0
        self.counts_up_to = 10_000
        self.no_room_for: set[str] = set()

    @property
    def major(self) -> int:
        return int(self.version["number"].split(".")[0])

    @property
    def no_pipeline(self) -> str | None:
        """What leaves the default search pipelines out, if it can be said."""
        is_new = self.version.get("distribution") == "opensearch" and self.major >= 3
        return "_none" if is_new else None

    def _carry_out(self, request: Request) -> Any:
        line = f"{request.method} {request.path}"
        for happening in [one for one in self.before if re.fullmatch(one[0], line)]:
            self.before.remove(happening)
            happening[1]()
        match request.method, request.path.strip("/").split("/"):
            case "GET", [""]:
                return {"version": self.version}
            case "GET", [names, "_stats", _]:
                of_index = (
                    self._stats_by_shard
                    if request.parameters.get("level") == "shards"
                    else self._stats_of_primaries
                )
                if request.parameters.get("ignore_unavailable") == "true":
                    names = ",".join(name for name in names.split(",") if name in self.tails)
                found = self._opened(names) if names else {}
                return {"indices": {name: of_index(index) for name, index in found.items()}}
            case "POST", [names, "_refresh" | "_flush" as kind]:
                touched = self._opened(names).values()
                shards = [shard for tail in touched for shard in tail.shards]
                if kind == "_flush":
                    for tail in touched:
                        tail.flush()
                if kind == "_refresh":
                    for shard in shards:
                        shard.refresh()
                        shard.tombstones = {
                            key: left - 1 for key, left in shard.tombstones.items() if left > 1
                        }
                return {"_shards": {"total": len(shards), "successful": len(shards), "failed": 0}}
            case "GET", [names] if names and not names.startswith("_"):
                return {
                    name: {
                        "mappings": index.mapping,
                        "settings": {
                            key: value for key, value in index.settings.items() if value is not None
                        },
                    }
                    for name, index in self._found(names).items()
                }
            case "GET", [names, "_mapping"]:
                return {
                    name: {"mappings": index.mapping} for name, index in self._found(names).items()
                }
            case "PUT", [name, "_mapping"]:
                self.tails[name].mapping = request.body
                return {"acknowledged": True}
            case "GET", [names, "_settings"]:
                if request.parameters.get("ignore_unavailable") == "true":
                    names = ",".join(name for name in names.split(",") if name in self.tails)
                return {
                    name: {"settings": index.settings}
                    for name, index in (self._found(names) if names else {}).items()
                }
            case "PUT", [names, "_settings"]:
                for index in self._found(names).values():
                    for key, value in request.body.items():
                        index.settings[key] = value
                return {"acknowledged": True}
            case "PUT", [names, "_block", "write"]:
                waited = [index.block() for index in self._found(names).values()]
                return {"acknowledged": all(waited)}
            case "GET", ["_cluster", "state", "blocks", names]:
                unfinished = [name for name in names.split(",") if self._is_unfinished(name)]
                blocks = {name: {"8": {"uuid": "of-a-block"}} for name in unfinished}
                return {"blocks": {"indices": blocks}} if blocks else {}
            case "GET", ["_cluster", "state", _, names]:
                return self._cluster_state(names)
            case "DELETE", [names]:
                for name in self._found(names):
                    del self.tails[name]
                return {"acknowledged": True}
            case "GET", ["_tasks"]:
                running = [
                    {
                        "node": "node",
                        "id": len(self.tasks) - place,
                        "action": "indices:data/write/bulk",
                        "headers": {"X-Opaque-Id": task},
                    }
                    for place, task in enumerate(self.tasks)
                ]
                self.tasks = self.tasks[1:]
                return {"tasks": running}
            case "GET", ["_cluster", "state", "metadata"] | ["_alias"]:
                return {}
            case "GET", ["_cat", "indices"]:
                return [
                    {
                        "index": name,
                        "uuid": index.uuid,
                        "status": "open" if index.is_open else "close",
                        "pri": str(len(index.shards)),
                        "rep": "0",
                        "pri.store.size": "1",
                        "creation.date": "1",
                    }
                    for name, index in self.tails.items()
                ]
            case "GET", ["_cluster", "health", *_]:
                return {
                    "indices": {name: {"status": "green"} for name in self.tails},
                    "initializing_shards": self.building,
                }
            case "POST", [names, "_search"] if "preference" not in request.parameters:
                assert request.body.get("search_pipeline") == self.no_pipeline
                return self._count_all(self._found(names))
            case "POST", [name, "_search"]:
                self._opened(name)
                return self._search(name, request.parameters, request.body)
            case "POST", [name, "_msearch"]:
                pairs = zip(request.body[::2], request.body[1::2], strict=True)
                if name not in self.tails:
                    error = {"type": "index_not_found_exception"}
                    return {"responses": [{"error": error, "status": 404} for _ in pairs]}
                return {"responses": [self._search(name, head, body) for head, body in pairs]}
            case "POST", [name, "_mget"]:
                self._found(name)
                shard = self._shard(name, request.parameters)
                return {
                    "docs": [
                        self._get(self.tails[name], shard, wanted, request.parameters)
                        for wanted in request.body["docs"]
                    ]
                }
            case "POST", [name, "_bulk"]:
                return {"items": list(self._bulk(self._found(name)[name], iter(request.body)))}
            case "GET", ["_snapshot", *_] | ["_cat", "snapshots", _]:
                return super()._carry_out(request)
            case _, ["_plugins" | "_opendistro", *_] | ["_cluster", "settings"]:
                return super()._carry_out(request)
        raise NotImplementedError(line)

    def _found(self, names: str) -> dict[str, FakeTailIndex]:
        missing = [name for name in names.split(",") if name not in self.tails]
        if missing:
            raise _Refused(404, "index_not_found_exception", f"no such index {missing}")
        return {name: self.tails[name] for name in names.split(",")}

    def _opened(self, names: str) -> dict[str, FakeTailIndex]:
        found = self._found(names)
        if not all(index.is_open for index in found.values()):
            raise _Refused(400, "index_closed_exception", "closed")
        return found

    def _is_unfinished(self, name: str) -> bool:
        return name in self.tails and self.tails[name].unfinished_block

    def _count_all(self, found: dict[str, FakeTailIndex]) -> dict[str, Any]:
        buckets = [
            {
                "key": name,
                "doc_count": sum(len(shard.visible.keys() - index.hides) for shard in index.shards),
            }
            for name, index in found.items()
        ]
        return {
            "_shards": {"failed": 0},
            "aggregations": {"indices": {"buckets": buckets}},
        }

    def _cluster_state(self, names: str) -> dict[str, Any]:
        found = {name: self.tails[name] for name in names.split(",") if name in self.tails}
        if not found:
            return {}
        return {
            "metadata": {
                "indices": {
                    name: {
                        "state": "open" if index.is_open else "close",
                        "settings": {"index": {"uuid": index.uuid}},
                        "primary_terms": {str(shard.number): shard.term for shard in index.shards},
                    }
                    for name, index in found.items()
                }
            },
            "routing_table": {
                "indices": {
                    name: {
                        "shards": {
                            str(shard.number): [
                                {
                                    "shard": shard.number,
                                    "primary": primary,
                                    "state": "STARTED",
                                    "node": shard.node if primary else "node-of-replica",
                                    "allocation_id": {"id": f"allocation-{shard.allocation}"},
                                }
                                for primary in (False, True)
                            ]
                            for shard in index.shards
                        }
                    }
                    for name, index in found.items()
                }
            },
        }

    def _stats_of_primaries(self, index: FakeTailIndex) -> dict[str, Any]:
        held = (self._shard_stats(index, shard)["docs"]["count"] for shard in index.shards)
        return {"primaries": {"docs": {"count": sum(held)}}}

    def _stats_by_shard(self, index: FakeTailIndex) -> dict[str, Any]:
        return {
            "shards": {
                str(shard.number): [REPLICA_STATS, self._shard_stats(index, shard)]
                for shard in index.shards
            }
        }

    def _shard_stats(self, index: FakeTailIndex, shard: FakeShard) -> dict[str, Any]:
        return {
            "routing": {"primary": True, "node": shard.node},
            "docs": {"count": (len(shard.visible) + shard.read_back) * (1 + index.nested)},
            "indexing": {"delete_total": shard.deletions},
            "seq_no": {
                "max_seq_no": shard.max_seq_no,
                "global_checkpoint": shard.global_checkpoint,
            },
            "commit": {"user_data": {"history_uuid": shard.history}},
        }

    def _shard(self, name: str, options: Mapping[str, Any]) -> FakeShard:
        """The shard of a preference, which has to name its primary in the engine's words."""
        number, where = options["preference"].removeprefix("_shards:").split("|")
        shard = self.tails[name].shards[int(number)]
        is_new = self.version.get("distribution") == "opensearch" and self.major >= 3
        assert where == ("_primary" if is_new else f"_only_nodes:{shard.node}")
        return shard

    def _search(
        self, name: str, options: Mapping[str, Any], body: Mapping[str, Any]
    ) -> dict[str, Any]:
        assert str(options["allow_partial_search_results"]).lower() == "false"
        index, shard = self.tails[name], self._shard(name, options)
        last = body.get("search_after", [-1])[0]
        matching = sorted(
            (stored.seq_no, key, stored)
            for key, stored in shard.visible.items()
            if key not in index.hides and _matches(body["query"], stored.seq_no)
        )
        hits = [
            {
                "_id": key,
                "_version": stored.version,
                "sort": [seq_no],
                **({"_routing": stored.routing} if stored.routing else {}),
                **({"_source": index.shown(stored)} if body.get("_source") else {}),
            }
            for seq_no, key, stored in matching
            if seq_no > last
        ]
        answer: dict[str, Any] = {
            "timed_out": False,
            "_shards": {"total": 1, "successful": 1, "failed": 0},
            "hits": {"hits": hits[: body["size"]]},
        }
        tracked = body.get("track_total_hits")
        if tracked is not False:
            # Elasticsearch 6 counts all of them.
            counts_all = tracked or self.major == 6
            total = len(matching) if counts_all else min(len(matching), self.counts_up_to)
            answer["hits"]["total"] = total if self.major == 6 else {"value": total}
        for title, aggregation in body.get("aggs", {}).items():
            numbers = [seq_no for seq_no, _, _ in matching]
            answer.setdefault("aggregations", {})[title] = _aggregated(
                aggregation, numbers, index.nested
            )
        return answer

    @staticmethod
    def _get(
        index: FakeTailIndex,
        shard: FakeShard,
        wanted: Mapping[str, str],
        options: Mapping[str, str],
    ) -> dict[str, Any]:
        assert options["realtime"] == "true"
        stored = shard.documents.get(wanted["_id"])
        if stored is None or wanted["_id"] in index.hides:
            return {"_id": wanted["_id"], "found": False}
        if stored.routing and "routing" not in wanted:
            return {"_id": wanted["_id"], "error": {"type": "routing_missing_exception"}}
        found = {
            "_id": wanted["_id"],
            "found": True,
            "_seq_no": stored.seq_no,
            "_version": stored.version,
        }
        if options["_source"] == "true":
            found["_source"] = index.shown(stored)
            # Nothing that is stored is looked at for an answer without the source.
            found |= {"_routing": stored.routing} if stored.routing else {}
        return found

    def _bulk(self, index: FakeTailIndex, lines: Iterable[Any]) -> Iterable[dict[str, Any]]:
        lines = iter(lines)
        for line in lines:
            [(kind, action)] = line.items()
            # A document's shard stands in its id here: `2-a` lies in shard 2.
            shard = index.shards[int(action["_id"].split("-")[0])]
            key = action["_id"]
            before = shard.documents.get(key)
            if kind == "delete":
                shard.delete(key)
                if before:
                    shard.tombstones[key] = self.refreshes_to_forget
                yield {"delete": {"status": 200 if before else 404, "_seq_no": shard.max_seq_no}}
                continue
            source = next(lines)
            assert action["version_type"] == "external_gte"
            if key in self.no_room_for:
                self.no_room_for.remove(key)
                yield {"index": {"status": 429}}
            elif source.get("refused"):
                yield {"index": {"status": 400, "error": {"type": "mapper_parsing_exception"}}}
            elif key in shard.tombstones or (before and before.version > action["version"]):
                yield {
                    "index": {"status": 409, "error": {"type": "version_conflict_engine_exception"}}
                }
            else:
                shard.index(key, source, action["version"], action.get("routing"))
                yield {"index": {"status": 201, "_seq_no": shard.max_seq_no}}


def _aggregated(aggregation: Mapping[str, Any], numbers: list[int], nested: int) -> Any:
    match aggregation:
        case {"sum": _}:
            return {"value": float(sum(numbers))}
        case {"nested": _}:
            return {"doc_count": len(numbers) * nested}
        case {"histogram": {"interval": width}, **others}:
            inner: Mapping[str, Any] = others.get("aggs", {})
            buckets: dict[int, list[int]] = {}
            for number in numbers:
                buckets.setdefault(number // width * width, []).append(number)
            return {
                "buckets": [
                    {
                        "key": float(key),
                        "doc_count": len(bucket),
                        **{
                            title: _aggregated(each, bucket, nested)
                            for title, each in inner.items()
                        },
                    }
                    for key, bucket in buckets.items()
                ]
            }
        case {"range": {"field": "_seq_no", "keyed": True, "ranges": ranges}}:
            return {
                "buckets": {
                    bounds["key"]: {
                        "doc_count": sum(
                            bounds["from"] <= number < bounds.get("to", math.inf)
                            for number in numbers
                        )
                    }
                    for bounds in ranges
                }
            }
    raise NotImplementedError(aggregation)


def _matches(query: Mapping[str, Any], seq_no: int) -> bool:
    match query:
        case {"match_all": _}:
            return True
        case {"range": {"_seq_no": {"gt": after, "lte": up_to}}}:
            return bool(after < seq_no <= up_to)
        case {"bool": {"should": parts}}:
            return any(_matches(part, seq_no) for part in parts)
    raise NotImplementedError(query)


def shards(count: int, documents: int) -> list[FakeShard]:
    """Shards with documents `<shard>-<number>`, refreshed."""
    made = [FakeShard(number) for number in range(count)]
    for shard in made:
        for number in range(documents):
            shard.index(f"{shard.number}-{number}")
        shard.refresh()
    return made


def content(cluster: FakeTailCluster, name: str) -> dict[str, tuple[int, str | None, Any]]:
    """All documents of an index: version, routing and source by id."""
    return {
        key: (stored.version, stored.routing, stored.source)
        for shard in cluster.tails[name].shards
        for key, stored in shard.documents.items()
    }
