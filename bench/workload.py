"""What is moved, and the client that writes to it meanwhile."""

import itertools
import random
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any, Literal

from opensearchpy import OpenSearch
from opensearchpy.helpers import parallel_bulk

type Churn = Literal["appends", "random"]

# Of so many operations each: 1 % appended alone, or with 0.2 % updated and 0.1 % deleted.
_MIX: dict[Churn, tuple[str, ...]] = {
    "appends": ("create",),
    "random": (*["create"] * 10, *["index"] * 2, "delete"),
}
_INDICES = 3
_SHARDS = 3
_DEFINITION = {
    "settings": {
        "index": {
            "number_of_shards": _SHARDS,
            "number_of_replicas": 0,
            # As small beside the data as the defaults are beside those of a cluster: otherwise each
            # merge takes whole shards, and the next snapshot has to hold all of them again. By
            # default a segment has at most 5 GB, and a shard should have at most 50 GB. At the
            # largest size it has 100 MB here.
            "merge.policy": {"max_merged_segment": "10mb", "floor_segment": "100kb"},
        }
    },
    "mappings": {
        "properties": {
            "at": {"type": "date"},
            "client": {"type": "ip"},
            "method": {"type": "keyword"},
            "path": {"type": "keyword"},
            "status": {"type": "short"},
            "bytes": {"type": "integer"},
            "agent": {"type": "keyword"},
            "message": {"type": "text"},
        }
    },
}
_FIRST_AT_SECONDS = 1_700_000_000
_AGENTS = [f"Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101" for n in range(90, 140)]
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORDS = 500
_WORDS_IN_MESSAGE = 100
_LOAD_THREADS = 2
_BULK_DOCUMENTS = 1_000
# What is written by several threads may not be there yet when another one changes it.
_ON_THEIR_WAY = 2 * _LOAD_THREADS * _BULK_DOCUMENTS
_CLIENT_BULK_OPERATIONS = 10
_CLIENT_BULKS_PER_SECOND = 10


class Workload:
    """Entries of an access log, and how clients change them; the same in each run.

    Args:
        name: of the log; the names of its indices have it.
    """

    def __init__(self, name: str) -> None:
        self.indices = [f"bench-{name}-{number}" for number in range(_INDICES)]
        """What it lies in."""
        self._aliases = [f"entries-{name}-{number}" for number in range(_INDICES)]
        self._random = random.Random(0)  # noqa: S311
        self._words = ["".join(self._random.choices(_LETTERS, k=n % 9 + 2)) for n in range(_WORDS)]
        self._verbs = {churn: itertools.cycle(mix) for churn, mix in _MIX.items()}
        self._written = 0
        self._deleted: set[int] = set()

    @property
    def documents(self) -> int:
        """How many there are."""
        return self._written - len(self._deleted)

    def create(self, cluster: OpenSearch, *, refresh_interval: str | None = None) -> None:
        """Make the indices, with an alias each, and nothing in them."""
        for index, alias in zip(self.indices, self._aliases, strict=True):
            cluster.indices.create(index=index, body={**_DEFINITION, "aliases": {alias: {}}})
            if refresh_interval:
                cluster.indices.put_settings(
                    index=index, body={"index.refresh_interval": refresh_interval}
                )

    def first_write(self, cluster: OpenSearch) -> float:
        """Write a document to the first index by its alias; return when that was accepted."""
        return _write_bulk(
            cluster,
            [{"_op_type": "create", "_index": self._aliases[0], "_id": "first", "_source": {}}],
        )

    def appends(self, number: int) -> Iterator[dict[str, Any]]:
        """New documents, as actions of `opensearchpy.helpers`."""
        for _ in range(number):
            yield self._action("create")

    def churn(self, churn: Churn, appended: int) -> Iterator[dict[str, Any]]:
        """The operations of a churn that appends so many documents."""
        mix = _MIX[churn]
        return self.changes(churn, appended * len(mix) // mix.count("create"))

    def changes(self, churn: Churn, number: int) -> Iterator[dict[str, Any]]:
        """Operations in the mix of a churn; those on old documents are spread over all of them."""
        for verb in itertools.islice(self._verbs[churn], number):
            yield self._action(verb)

    def _action(self, verb: str) -> dict[str, Any]:
        if verb == "create":
            number = self._written
            self._written += 1
        else:
            number = self._present()
        if verb == "delete":
            self._deleted.add(number)
        alias = self._aliases[number % _INDICES]
        place = {"_op_type": verb, "_index": alias, "_id": str(number)}
        return place if verb == "delete" else place | {"_source": self._document(number)}

    def _present(self) -> int:
        surely_written = max(self._written - _ON_THEIR_WAY, self._written // 2)
        while (number := self._random.randrange(surely_written)) in self._deleted:
            pass
        return number

    def _document(self, number: int) -> dict[str, Any]:
        some = self._random
        return {
            "at": (_FIRST_AT_SECONDS + number) * 1000,
            "client": f"10.{some.randrange(256)}.{some.randrange(256)}.{some.randrange(256)}",
            "method": some.choice(("GET", "GET", "GET", "POST", "PUT", "DELETE")),
            "path": "/" + "/".join(some.choices(self._words, k=3)),
            "status": some.choice((200, 200, 200, 201, 304, 404, 500)),
            "bytes": some.randrange(100_000),
            "agent": some.choice(_AGENTS),
            "message": " ".join(some.choices(self._words, k=_WORDS_IN_MESSAGE)),
        }


def write(cluster: OpenSearch, actions: Iterator[dict[str, Any]]) -> None:
    """Write as fast as a cluster takes it."""
    for _ in parallel_bulk(
        cluster,
        actions,
        thread_count=_LOAD_THREADS,
        queue_size=_LOAD_THREADS,
        chunk_size=_BULK_DOCUMENTS,
        require_alias=True,
    ):
        pass


class Client:
    """Writes at a steady rate, and notes when it was last accepted.

    Args:
        workload: what it writes.
        churn: in which mix.
    """

    def __init__(self, workload: Workload, churn: Churn) -> None:
        self._workload = workload
        self._churn = churn
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="client")
        self._stopping = Event()
        self._writing: Future[None] | None = None
        self.last_accepted_at = 0.0
        """In seconds of the epoch."""

    def start(self, cluster: OpenSearch) -> None:
        """Begin to write."""
        self._stopping.clear()
        self._writing = self._thread.submit(self._write, cluster)

    def stop(self) -> None:
        """Stop after the answer to what is under way."""
        self._stopping.set()
        if self._writing:
            self._writing.result()

    def _write(self, cluster: OpenSearch) -> None:
        while not self._stopping.wait(1 / _CLIENT_BULKS_PER_SECOND):
            self.last_accepted_at = _write_bulk(
                cluster, self._workload.changes(self._churn, _CLIENT_BULK_OPERATIONS)
            )


def _write_bulk(cluster: OpenSearch, actions: Iterable[dict[str, Any]]) -> float:
    """Write a bulk; return when all of it was accepted, in seconds of the epoch."""
    lines: list[dict[str, Any]] = []
    for action in actions:
        place = {name: action[name] for name in ("_index", "_id")}
        lines.append({action["_op_type"]: place})
        if "_source" in action:
            lines.append(action["_source"])
    answer = cluster.bulk(body=lines, params={"require_alias": "true"})
    assert not answer["errors"], answer["items"]
    return time.time()
