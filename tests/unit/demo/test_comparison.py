from dataclasses import replace
from typing import Any

import pytest

from snapferry_sandbox.demo.comparison import Comparison, Key, compare_documents
from snapferry_sandbox.demo.data import Document


def document(number: int, routing: str | None = "FR", **content: Any) -> Document:
    return Document("cities", str(number), routing, {"geonameid": number, **content})


def deleted(number: int) -> Document:
    return Document("cities", str(number), "FR", None)


def stored(*documents: Document) -> list[tuple[Key, Document]]:
    return [(int(each.id), each) for each in documents]


def ledger(*documents: Document) -> dict[str, Document]:
    return {each.id: each for each in documents}


def compare(
    source: list[Document],
    destination: list[Document],
    written_at_source: tuple[Document, ...] = (),
    written_at_destination: tuple[Document, ...] = (),
) -> Comparison:
    return compare_documents(
        stored(*source),
        stored(*destination),
        ledger(*written_at_source),
        ledger(*written_at_destination),
    )


def test_equal() -> None:
    documents = [document(number) for number in range(5)]
    comparison = compare(documents, documents)
    assert comparison == Comparison(source_documents=5, destination_documents=5)


def test_the_order_of_fields_is_no_difference() -> None:
    there = Document("cities", "1", "FR", {"b": 1, "a": {"d": 1, "c": 2}})
    here = Document("cities", "1", "FR", {"a": {"c": 2, "d": 1}, "b": 1})
    assert compare([here], [there]).differences == 0


@pytest.mark.parametrize(
    "other",
    [
        document(1, population=1.0),
        document(1, population="1"),
        document(1, population=True),
        document(1, population=[1]),
        document(1),
        document(1, population=1, more=None),
        document(1, routing="DE", population=1),
        document(1, routing=None, population=1),
    ],
)
def test_another_content_or_routing(other: Document) -> None:
    comparison = compare([document(1, population=1)], [other])
    assert comparison.differences == 1
    assert comparison.examples == ["1: another content, routing or version"]


def test_another_version() -> None:
    comparison = compare(
        [replace(document(1), version=3)],
        [replace(document(1), version=2)],
        written_at_source=(replace(document(1), version=3),),
    )
    assert comparison.examples == ["1: another content, routing or version"]


@pytest.mark.parametrize("lost", range(4))
def test_a_lost_document(lost: int) -> None:
    documents = [document(number) for number in range(4)]
    comparison = compare(documents, documents[:lost] + documents[lost + 1 :])
    assert comparison.examples == [f"{lost}: 0 times at the destination instead of 1"]


def test_a_document_too_many() -> None:
    comparison = compare([document(1)], [document(1), document(2)])
    assert comparison.examples == ["2: 1 times at the destination instead of 0"]


def test_a_document_twice() -> None:
    comparison = compare([document(1)], [document(1), document(1)])
    assert comparison.examples == ["1: 2 times at the destination instead of 1"]


def test_only_the_first_differences_are_shown() -> None:
    comparison = compare([document(number) for number in range(100)], [])
    assert comparison.differences == 100
    assert len(comparison.examples) == 10


def test_what_was_written_before_the_cut_over_is_at_both() -> None:
    new, changed = document(1), document(2, population=7)
    comparison = compare([new, changed], [new, changed], (new, changed, deleted(3)))
    assert comparison == Comparison(source_documents=2, destination_documents=2, ledger_entries=3)


def test_a_source_that_lost_what_it_accepted() -> None:
    comparison = compare([], [], written_at_source=(document(1),))
    assert comparison.examples == ["1: the source lost what it accepted"]


def test_a_source_that_holds_something_older() -> None:
    older = document(1, population=1)
    comparison = compare([older], [older], written_at_source=(document(1, population=2),))
    assert comparison.examples == ["1: the source doesn't hold what it accepted"]


def test_a_source_that_holds_what_was_deleted() -> None:
    comparison = compare([document(1)], [document(1)], written_at_source=(deleted(1),))
    assert comparison.examples == ["1: the source doesn't hold what it accepted"]


def test_what_was_written_after_the_cut_over_differs_from_the_source() -> None:
    comparison = compare(
        [document(1, population=1), document(2)],
        [document(1, population=2), document(3)],
        written_at_destination=(document(1, population=2), deleted(2), document(3)),
    )
    assert comparison == Comparison(source_documents=2, destination_documents=2, ledger_entries=3)


def test_a_destination_that_lost_what_it_accepted() -> None:
    comparison = compare([document(1)], [document(1)], written_at_destination=(document(2),))
    assert comparison.examples == ["2: the destination lost what it accepted"]


def test_a_destination_that_holds_something_older() -> None:
    comparison = compare(
        [document(1, population=1)],
        [document(1, population=1)],
        written_at_destination=(document(1, population=2),),
    )
    assert comparison.examples == ["1: another content, routing or version"]


def test_a_document_written_at_the_destination_and_lost_counts_once() -> None:
    comparison = compare([document(1)], [], written_at_destination=(document(1),))
    assert comparison.differences == 1
