from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snapferry.errors import Unavailable
from tests.unit.conftest import Storage

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


# Each example writes over the one before.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values)
def test_what_was_written_is_read(storage: Storage, value: Any) -> None:
    storage.records.write("logs/indices-1", value)

    assert storage.records.read("logs/indices-1") == value


def test_what_was_kept_is_found_by_other_migrations(storage: Storage) -> None:
    storage.records.keep("search.example.com/logs/restored", {"a": 1})

    assert storage.records_of("m-2").kept("search.example.com/logs/restored") == {"a": 1}
    assert storage.records.read("search.example.com/logs/restored") is None
    assert storage.records.kept("another", default={}) == {}


def test_a_record_lies_under_its_migration(storage: Storage) -> None:
    assert storage.records.write("report", {}) == "migrations/m-1/report.json"
    assert set(storage.s3.objects) == {"migrations/m-1/report.json"}


def test_what_was_never_written_reads_as_the_default(storage: Storage) -> None:
    assert storage.records.read("logs/restored", default={}) == {}
    assert storage.records.read("logs/restored") is None


def test_an_item_takes_numbers_of_any_kind(storage: Storage) -> None:
    storage.records.put("progress#logs", seconds=1.25, bytes_done=2**60, nothing=None)

    item = storage.items["m-1", "progress#logs"]
    assert item["seconds"] == Decimal("1.25")
    assert item["bytes_done"] == 2**60
    assert item["nothing"] is None
    assert item["updated_at"] == int(item["updated_at"]) > 0


def test_an_item_is_read_and_removed(storage: Storage) -> None:
    storage.records.put("gate#logs#plan", state="open")
    storage.records.put("gate#orders#plan", state="open")
    storage.records_of("m-2").put("gate#logs#plan", state="open")

    [item] = storage.records.items("gate#logs#")
    assert (item["record"], item["state"]) == ("gate#logs#plan", "open")
    assert storage.records.item("gate#logs#plan") == item
    for _ in range(2):
        storage.records.remove("gate#logs#plan")
    assert storage.records.item("gate#logs#plan") is None
    assert set(storage.items) == {("m-1", "gate#orders#plan"), ("m-2", "gate#logs#plan")}


def test_what_is_written_once_stays(storage: Storage) -> None:
    storage.records.write_once("logs/base-1", {"first": True})
    storage.records.write_once("logs/base-1", {"first": False})
    assert storage.records.read("logs/base-1") == {"first": True}


def test_who_writes_once_at_the_same_time_as_another_is_to_try_again(storage: Storage) -> None:
    storage.s3.races = 1
    with pytest.raises(Unavailable, match="logs/base-1"):
        storage.records.write_once("logs/base-1", {"attempt": 1})
    storage.records.write_once("logs/base-1", {"attempt": 2})
    assert storage.records.read("logs/base-1") == {"attempt": 2}
