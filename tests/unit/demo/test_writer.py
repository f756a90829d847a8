import itertools
from dataclasses import replace
from typing import Any

import pytest

from snapferry_sandbox.demo.data import Document
from snapferry_sandbox.demo.writer import Ledger, Operation, Writer

VILA = Document(
    "cities-europe", "3038832", "AD", {"geonameid": 3038832, "country": "AD", "population": 1418}
)


def writer() -> Writer:
    return Writer([VILA], operations_per_second=100)


def answer(verb: str, status: int, index: str = "cities-europe") -> dict[str, Any]:
    return {verb: {"_index": index, "_id": "3038832", "_version": 4, "status": status}}


def test_ledger_holds_what_was_accepted_last() -> None:
    ledger = Ledger()
    changed = Document(VILA.index, VILA.id, VILA.routing, {"population": 2}, version=4)
    ledger.note([Operation("index", VILA.content, VILA)], [answer("index", 200)], now=10.0)
    ledger.note([Operation("index", changed.content, changed)], [answer("index", 200)], now=11.0)
    assert ledger.of("cities-europe") == {VILA.id: changed}
    assert (ledger.accepted, ledger.first_accepted_at, ledger.last_accepted_at) == (2, 10.0, 11.0)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 429, 503])
def test_what_was_refused_is_not_expected(status: int) -> None:
    ledger = Ledger()
    outcomes = ledger.note([Operation("delete", None, VILA)], [answer("delete", status)], now=10.0)
    assert outcomes == [None]
    assert (ledger.documents, ledger.refused, ledger.last_accepted_at) == ({}, 1, None)


@pytest.mark.parametrize(("status", "certain"), [(403, True), (409, False), (503, False)])
def test_nobody_knows_what_became_of_a_failure(status: int, certain: bool) -> None:
    ledger = Ledger()
    change = Operation("index", VILA.content, VILA)
    ledger.note([change], [answer("index", 200)], now=10.0)
    ledger.note([change], [answer("index", status)], now=11.0)
    assert bool(ledger.of("cities-europe")) == certain
    ledger.note([change], [answer("index", 200)], now=12.0)
    assert ledger.of("cities-europe")


def test_each_item_of_a_bulk_counts_for_itself() -> None:
    ledger = Ledger()
    ledger.note(
        [Operation("index", VILA.content, VILA), Operation("index", VILA.content, VILA)],
        [answer("index", 403), answer("index", 201)],
        now=10.0,
    )
    assert (ledger.accepted, ledger.refused) == (1, 1)


def test_an_insert_is_noted_in_the_index_behind_the_alias() -> None:
    ledger = Ledger()
    insert = writer().insert()
    assert insert.outcome.index == "cities"
    (document,) = ledger.note([insert], [answer("create", 201, index="cities-reported")], now=10.0)
    assert document is not None
    assert document.index == "cities-reported"
    assert list(ledger.of("cities-reported")) == [insert.outcome.id]


def test_every_kind_of_change_says_what_comes_of_it() -> None:
    changes = {change.verb: change for change in map(writer().change, itertools.repeat(VILA, 200))}
    assert changes.keys() == {"index", "update", "delete"}
    assert changes["delete"].outcome.content is None
    update = changes["update"]
    assert update.body is not None
    assert VILA.content is not None
    assert update.outcome.content == VILA.content | update.body["doc"]
    assert changes["index"].outcome.content == changes["index"].body
    assert all(change.outcome.routing == "AD" for change in changes.values())


def test_some_changes_have_a_version_of_the_clients_own() -> None:
    changes = map(writer().change, itertools.repeat(replace(VILA, version=7), 200))
    external = [change for change in changes if change.external_version]
    assert external
    for change in external:
        assert change.external_version
        assert change.external_version > 7
        action, content = change.lines()
        assert action["index"]["version_type"] == "external"
        assert content == change.outcome.content


def test_a_deleted_document_is_made_anew() -> None:
    gone = Document(VILA.index, VILA.id, VILA.routing, None)
    change = writer().change(gone)
    assert change.verb == "index"
    assert change.outcome.content == VILA.content


def test_operations_become_lines_of_a_bulk() -> None:
    place = {"_index": "cities-europe", "_id": "3038832", "routing": "AD"}
    assert list(Operation("delete", None, VILA).lines()) == [{"delete": place}]
    assert list(Operation("update", {"doc": {}}, VILA).lines()) == [{"update": place}, {"doc": {}}]
