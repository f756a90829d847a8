"""How many documents are read at once, so that functions keep room for them."""

from pathlib import Path

import pytest

from snapferry.catchup.documents import BATCH_BYTES, LARGEST_PAGE, Document, PageSize

KB, MB, MIB = 1_000, 1_000_000, 1024 * 1024


def page(*sizes_bytes: int) -> list[Document]:
    return [
        Document(str(number), None, 1, number, "x" * size)
        for number, size in enumerate(sizes_bytes)
    ]


def test_the_first_page_is_small_and_the_next_ones_grow_in_steps() -> None:
    size = PageSize()

    read: list[int] = []
    while not read or size.documents > read[-1]:
        read.append(size.documents)
        size.learn(page(*[KB] * size.documents))

    assert read[:2] == [64, 512]
    assert read[-1] == BATCH_BYTES // (KB + 600)


def test_a_function_of_less_memory_begins_with_less() -> None:
    assert PageSize(page_bytes=BATCH_BYTES // 4).documents == 16


def test_pages_of_documents_without_their_text_are_as_large_as_an_answer_may_be() -> None:
    size = PageSize(LARGEST_PAGE)

    size.learn(page(*[0] * LARGEST_PAGE))

    assert size.documents == LARGEST_PAGE


def test_the_largest_document_decides() -> None:
    size = PageSize(1_000)

    size.learn(page(*[KB] * 999, MB))

    assert size.documents == 4


def test_a_document_that_is_larger_than_a_page_comes_alone() -> None:
    size = PageSize()

    size.learn(page(20 * MB))

    assert size.documents == 1


def test_a_run_of_large_documents_keeps_pages_within_the_budget() -> None:
    size = PageSize()
    for _ in range(20):
        size.learn(page(*[MB] * size.documents))

    assert size.documents == BATCH_BYTES // (MB + 600)


@pytest.mark.parametrize("left", [1, 100])
def test_the_rest_of_a_shard_leaves_the_pages_of_others_as_they_are(left: int) -> None:
    size = PageSize(2_000)

    size.learn(page(*[KB] * left))

    assert size.documents == 2_000


def test_the_document_says_how_large_pages_are() -> None:
    size = PageSize(page_bytes=MIB)
    first = size.documents
    size.learn(page(*[0] * first))

    text = " ".join((Path(__file__).parents[2] / "docs/verification.md").read_text().split())

    assert f"of about 1 MiB: the first has {first} documents," in text
    assert f"at most {size.documents // first} times as many." in text
