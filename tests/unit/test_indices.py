from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapferry import indices
from snapferry.errors import Conflict, InvalidInput
from snapferry.indices import Index
from snapferry.request import Indices
from tests.unit.conftest import Side
from tests.unit.fakes import FakeIndex

# What OpenSearch takes as the name of an index, at most 255 bytes long.
index_names = (
    st.text(
        st.characters(exclude_categories=["C", "Z", "Lu", "Lt"], exclude_characters='\\/*?"<>|,#:'),
        min_size=1,
        max_size=255,
    )
    .filter(lambda name: name[0] not in ".-_+")
    .filter(lambda name: len(name.encode()) <= 255)
)


def index(name: str, *, is_open: bool = True) -> Index:
    return Index(name, "u", is_open, 1, 1, 1, created_at_milliseconds=1)


def selected(names: list[str], **wanted: list[str]) -> list[str]:
    chosen = indices.select(map(index, names), Indices.model_validate(wanted))
    return [index.name for index in chosen]


def test_every_index_is_listed_with_its_size(source: Side) -> None:
    source.cluster.indices = {
        "orders": FakeIndex(
            shards=3, replicas=2, primary_bytes=5_000, uuid="a", created_at_milliseconds=7
        ),
        ".kibana_1": FakeIndex(uuid="b"),
        "closed": FakeIndex(open=False, uuid="c", created_at_milliseconds=8),
    }

    listed = indices.list_all(source.client)

    assert listed["orders"] == Index("orders", "a", True, 3, 2, 5_000, 7)
    assert listed["closed"] == Index("closed", "c", False, 1, 1, 0, 8)
    assert set(listed) == {"orders", ".kibana_1", "closed"}


def test_an_index_survives_its_way_through_the_records() -> None:
    assert Index(**index("orders").record()) == index("orders")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["logs-1", "logs-2", "orders"]),
        ({"include": ["logs-*"]}, ["logs-1", "logs-2"]),
        ({"include": ["orders", "logs-1"]}, ["logs-1", "orders"]),
        ({"exclude": ["logs-*"]}, ["orders"]),
        ({"include": ["logs-*"], "exclude": ["*-2", "*-3"]}, ["logs-1"]),
        ({"include": ["*"], "exclude": ["nothing-of-this"]}, ["logs-1", "logs-2", "orders"]),
    ],
    ids=str,
)
def test_patterns_choose_by_name_and_never_a_system_index(
    wanted: dict[str, list[str]], expected: list[str]
) -> None:
    assert selected(["orders", "logs-2", "logs-1", ".kibana_1", ".tasks"], **wanted) == expected


@given(names=st.sets(index_names, min_size=1, max_size=5))
@example(names={"logs[1]", "logs1"})
def test_a_name_chooses_its_index_and_no_other(names: set[str]) -> None:
    name = max(names)

    chosen = indices.select(map(index, names), Indices.model_construct(include=(name,)))

    assert [index.name for index in chosen] == [name]


def test_a_name_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"indices\.include: order, \.x: .*correct the name"):
        indices.select([index("orders")], Indices.model_construct(include=("order", ".x")))


def test_nothing_to_move_is_told_with_what_there_is() -> None:
    with pytest.raises(InvalidInput, match=r"include \['logs-\*'\] .*; it has orders"):
        selected(["orders"], include=["logs-*"])


def test_a_source_without_indices_is_told() -> None:
    with pytest.raises(InvalidInput, match="it has none"):
        selected([])


def test_a_long_list_is_cut_in_messages() -> None:
    with pytest.raises(InvalidInput, match=r"it has i-00, .*, i-09 and 40 more"):
        selected([f"i-{number:02}" for number in range(50)], include=["x*"])


def test_a_closed_index_is_not_left_out_in_silence() -> None:
    present = [index("logs-1"), index("logs-2", is_open=False)]

    with pytest.raises(InvalidInput, match=r"logs-2: a closed index .* put it into exclude"):
        indices.select(present, Indices())
    assert indices.select(present, Indices(exclude=("logs-2",))) == [index("logs-1")]


def test_leaving_everything_out_is_no_choice() -> None:
    present = [index("logs-1", is_open=False), index("logs-2")]

    assert indices.select(present, Indices(), {"logs-1"}) == [index("logs-2")]
    with pytest.raises(InvalidInput, match=r"can be moved; the plan leaves out logs-1"):
        indices.select(present, Indices(), {"logs-1", "logs-2"})


def test_an_index_of_someone_else_is_never_written_over() -> None:
    present = {"orders": index("orders"), "logs": index("logs")}

    with pytest.raises(Conflict, match=r"^orders: .*remove or rename it there"):
        indices.refuse_strangers([index("orders"), index("logs")], present, {"logs"})


def test_what_migrations_restored_may_be_written_over() -> None:
    indices.refuse_strangers(
        [index("orders"), index("new")],
        {"orders": index("orders"), "other": index("other")},
        {"orders"},
    )


@given(names=st.lists(index_names, max_size=50))
def test_paths_lose_nothing_and_fit_into_a_request(names: list[str]) -> None:
    pieces = list(indices.paths(names))

    assert [name for piece in pieces for name in piece.split(",")] == names
    # 4,096 bytes are the limit, for the method, the operation and the parameters, too.
    assert all(len(quote(piece, safe="").encode()) <= 3_500 for piece in pieces)


def test_paths_are_few() -> None:
    names = [f"logs-2026.11.{day:02}" for day in range(1, 31)]

    assert list(indices.paths(names)) == [",".join(names)]
