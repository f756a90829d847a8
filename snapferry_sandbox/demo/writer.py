"""A client that goes on writing while its indices are moved, and remembers what was accepted.

Nothing here knows of the migration: the ledger is kept from the clusters' answers alone, so that
what is missing afterwards can't hide.
"""

import itertools
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from snapferry_sandbox.demo.data import Document

NEW_DOCUMENTS = "cities"
"""The alias that new documents go through; its write index takes them."""

_CERTAINLY_REFUSED = (400, 403, 429)
_FIRST_NEW_ID = 1_000_000_000  # above all of GeoNames's
_BULK_OPERATIONS = 20
_INSERT_SHARE = 0.2
_DELETE_SHARE = 0.1
_PARTIAL_UPDATE_SHARE = 0.5
_EXTERNAL_VERSION_SHARE = 0.1
_LARGEST_VERSION_STEP = 1_000


@dataclass(frozen=True)
class Operation:
    """A write, and the document that is there if it is accepted.

    Attributes:
        verb: `create`, `index`, `update` or `delete`.
        body: what follows the action's line in the bulk; None for a delete.
        outcome: the document afterwards; its content is None after a delete.
        external_version: which version it is to have; None where the cluster counts.
    """

    verb: str
    body: dict[str, Any] | None
    outcome: Document
    external_version: int | None = None

    def lines(self) -> Iterator[dict[str, Any]]:
        """The operation in a bulk request."""
        action = self.outcome.action(self.verb)
        if self.external_version is not None:
            action[self.verb] |= {"version": self.external_version, "version_type": "external"}
        yield action
        if self.body is not None:
            yield self.body


@dataclass
class Ledger:
    """What one cluster has accepted, in the words of its answers.

    Attributes:
        documents: by index and id, the last accepted state; its content is None where deleted.
        uncertain: those whose last operation may have been carried out though it wasn't accepted,
            since a cluster repeats by itself what a node that died may have done.
        accepted: number of operations.
        refused: number of operations.
        first_accepted_at: when the first acceptance was known here, in seconds of the epoch.
        last_accepted_at: the same of the last.
    """

    documents: dict[tuple[str, str], Document] = field(default_factory=dict)
    uncertain: set[tuple[str, str]] = field(default_factory=set)
    accepted: int = 0
    refused: int = 0
    first_accepted_at: float | None = None
    last_accepted_at: float | None = None

    def note(
        self, operations: Sequence[Operation], items: Sequence[Mapping[str, Any]], now: float
    ) -> list[Document | None]:
        """Enter the answer to a bulk request.

        Args:
            operations: what was asked for.
            items: `items` of the answer, one for each.
            now: when the answer came, in seconds of the epoch.

        Returns:
            For each operation the document as it is now; None where it was refused.
        """
        outcomes: list[Document | None] = []
        for operation, item in zip(operations, items, strict=True):
            answer = item[operation.verb]
            if answer["status"] not in (200, 201):
                self.refused += 1
                if answer["status"] not in _CERTAINLY_REFUSED:
                    self.uncertain.add((answer["_index"], answer["_id"]))
                outcomes.append(None)
                continue
            # The answer names the index that an alias stood for.
            document = replace(
                operation.outcome, index=answer["_index"], version=answer["_version"]
            )
            self.documents[document.index, document.id] = document
            self.uncertain.discard((document.index, document.id))
            self.accepted += 1
            if self.first_accepted_at is None:
                self.first_accepted_at = now
            self.last_accepted_at = now
            outcomes.append(document)
        return outcomes

    def of(self, index: str) -> dict[str, Document]:
        """The documents of one index by id, but for uncertain ones."""
        return {
            id_: document
            for (name, id_), document in self.documents.items()
            if name == index and (name, id_) not in self.uncertain
        }


class Writer:
    """Inserts, updates, deletes and creates anew, at a steady rate, on one cluster at a time.

    Leaving its context stops it.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        operations_per_second: float,
        *,
        new_documents: str = NEW_DOCUMENTS,
        seed: int = 0,
    ) -> None:
        """Make a writer which doesn't write yet.

        Args:
            documents: what it changes; it never touches others.
            operations_per_second: at most.
            new_documents: the index, or alias, that new ones go to.
            seed: decides on the operations; writers with different ones share no new document.
        """
        self._rate = operations_per_second
        self._random = random.Random(seed)  # noqa: S311 - the same operations in each run
        self._models = documents
        self._documents = list(documents)
        self._new_documents = new_documents
        self._new_ids = itertools.count(_FIRST_NEW_ID * (1 + seed))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._stopping = threading.Event()
        self._writing: Future[None] | None = None

    def start(self, cluster: OpenSearch) -> Ledger:
        """Begin to write to a cluster; return the ledger, which fills from now on."""
        self._stopping.clear()
        ledger = Ledger()
        self._writing = self._thread.submit(self._write, cluster, ledger)
        return ledger

    def stop(self) -> None:
        """Stop after the answer to what is under way.

        Raises:
            OpenSearchException: the cluster stopped answering, so nobody knows what it accepted.
        """
        self._stopping.set()
        if self._writing:
            self._writing.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.shutdown()

    def _write(self, cluster: OpenSearch, ledger: Ledger) -> None:
        due = time.monotonic()
        while not self._stopping.wait(due - time.monotonic()):
            # What a slow cluster has missed isn't made up for.
            due = max(due, time.monotonic() - 1) + _BULK_OPERATIONS / self._rate
            places = self._random.sample(range(len(self._documents)), _BULK_OPERATIONS)
            operations = [self.change(self._documents[place]) for place in places]
            for number in range(len(operations)):
                if self._random.random() < _INSERT_SHARE:
                    operations[number] = self.insert()
            try:
                answer = cluster.bulk(
                    body=[line for operation in operations for line in operation.lines()]
                )
            except TransportError as error:
                if error.status_code != 429:
                    raise
                ledger.refused += len(operations)
                continue
            outcomes = ledger.note(operations, answer["items"], time.time())
            for place, operation, outcome in zip(places, operations, outcomes, strict=True):
                if outcome is None:
                    continue
                if operation.verb == "create":
                    self._documents.append(outcome)
                else:
                    self._documents[place] = outcome

    def insert(self) -> Operation:
        """A new place, like one that exists."""
        id_ = next(self._new_ids)
        content = self._content(id_)
        document = Document(self._new_documents, str(id_), content["country"], content)
        return Operation("create", content, document)

    def change(self, document: Document) -> Operation:
        """A change of a document that exists, or existed."""
        chance = self._random.random()
        if document.content is None:
            content = self._content(int(document.id))
            return Operation("index", content, replace(document, content=content))
        if chance < _DELETE_SHARE:
            return Operation("delete", None, replace(document, content=None))
        changed = {
            "population": self._random.randrange(500, 1_000_000),
            # A field that the mappings don't have before the migration starts.
            "reported_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        outcome = replace(document, content=document.content | changed)
        if chance < _DELETE_SHARE + _PARTIAL_UPDATE_SHARE:
            return Operation("update", {"doc": changed}, outcome)
        if document.version and chance > 1 - _EXTERNAL_VERSION_SHARE:
            version = document.version + self._random.randint(1, _LARGEST_VERSION_STEP)
            return Operation("index", outcome.content, outcome, version)
        return Operation("index", outcome.content, outcome)

    def _content(self, id_: int) -> dict[str, Any]:
        model = self._random.choice(self._models).content
        assert model is not None  # noqa: S101 - what it was given exists
        return model | {"geonameid": id_}
