"""Writes documents at the destination, each as the source has it."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any

from snapferry.catchup.documents import BATCH_BYTES, Document
from snapferry.catchup.side import PAUSES_SECONDS, Side, Unfit, refresh
from snapferry.errors import RequestRefused, Unavailable

_DELETES_AT_ONCE = 5_000


@dataclass(frozen=True)
class Writer:
    """Writes to an index.

    Attributes:
        side: the destination.
        index: the index.
        opaque_id: by which its requests are recognised among the tasks of the cluster.
    """

    side: Side
    index: str
    opaque_id: str

    def put(
        self, documents: Iterable[Document], *, shown: bool = False
    ) -> tuple[dict[str, int], list[Document]]:
        """Writes documents with the versions that they have at the source.

        Args:
            documents: which.
            shown: whether searches show them at once. Shards do that side by side, while a refresh
                of an index takes one after the other.

        Returns:
            The sequence numbers that they got, by their ids, and the documents of which the
            destination has a later version: these got none.

        Raises:
            Unfit: where the destination refuses one.
        """
        numbers = {}
        conflicts = []
        for batch in _batches(documents):
            for document, result in self._bulk(batch, _index_lines, shown=shown):
                if result["status"] == 409:
                    conflicts.append(document)
                elif result["status"] < 300:
                    numbers[document.id] = result["_seq_no"]
                else:
                    raise Unfit(f"the destination refuses {document.id}: {result['error']}")
        return numbers, conflicts

    def delete(self, documents: Iterable[Document]) -> None:
        """Deletes documents, which no search shows any more; one that isn't there is deleted, too.

        Raises:
            Unfit: where the destination refuses it.
        """
        for batch in batched(documents, _DELETES_AT_ONCE, strict=False):
            for document, result in self._bulk(batch, _delete_lines, shown=True):
                if result["status"] >= 300 and result["status"] != 404:
                    raise Unfit(f"the destination keeps {document.id}: {result['error']}")

    def replace(self, documents: Iterable[Document]) -> int:
        """Writes documents in place of later versions of them.

        They were deleted at the source and made anew, and so their versions began again. The
        version of a deleted document counts until the destination forgets it, which is soon with
        `index.gc_deletes: 0`, and at a refresh.

        Returns:
            The last sequence number that they got, -1 for none.

        Raises:
            Unavailable: where the destination doesn't forget.
        """
        conflicts = list(documents)
        self.delete(conflicts)
        last = -1
        for pause_seconds in PAUSES_SECONDS:
            refresh(self.side.client, [self.index])
            numbers, conflicts = self.put(conflicts)
            last = max([last, *numbers.values()])
            if not conflicts:
                return last
            self.side.sleep(pause_seconds)
        raise Unavailable(
            f"{self.index}: the destination still holds later versions of deleted documents, "
            f"such as {conflicts[0].id}"
        )

    def _bulk(
        self,
        documents: Sequence[Document],
        lines: Callable[[Document], tuple[str, ...]],
        *,
        shown: bool,
    ) -> Iterator[tuple[Document, dict[str, Any]]]:
        """Yields what became of each document; those refused for lack of room are sent again.

        Source: https://docs.opensearch.org/latest/api-reference/document-apis/bulk/

        Raises:
            Unfit: where the destination refuses all of them, such as for their size.
        """
        for pause_seconds in PAUSES_SECONDS:
            body = "".join(f"{line}\n" for document in documents for line in lines(document))
            try:
                answer = self.side.patiently(
                    self.side.client.bulk,
                    index=self.index,
                    body=body.encode("utf-8", "surrogatepass"),
                    params={
                        "pipeline": "_none",
                        "refresh": str(shown).lower(),
                        "filter_path": "items.*.status,items.*._seq_no,items.*.error",
                    },
                    headers={"x-opaque-id": self.opaque_id},
                )
            except RequestRefused as error:
                raise Unfit(
                    f"the destination refuses {len(documents)} documents of {len(body)} characters "
                    f"together, such as {documents[0].id}: {error}"
                ) from error
            refused = []
            for document, item in zip(documents, answer["items"], strict=True):
                [result] = item.values()
                if result["status"] in (429, 503):
                    refused.append(document)
                else:
                    yield document, result
            if not refused:
                return
            documents = refused
            self.side.sleep(pause_seconds)
        raise Unavailable(f"{self.index}: the destination has no room for {len(documents)} writes")


def _index_lines(document: Document) -> tuple[str, ...]:
    action = {**document.key, "version": document.version, "version_type": "external_gte"}
    # Inside a string JSON has no line break, so these are blanks between its parts.
    return json.dumps({"index": action}), document.source.replace("\n", " ")


def _delete_lines(document: Document) -> tuple[str, ...]:
    return (json.dumps({"delete": document.key}),)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Cuts documents into pieces that fit into a request, each at least one document."""
    batch: list[Document] = []
    size_bytes = 0
    for document in documents:
        document_bytes = len(document.source.encode("utf-8", "surrogatepass"))
        if batch and size_bytes + document_bytes > BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
        batch.append(document)
        size_bytes += document_bytes
    if batch:
        yield batch
