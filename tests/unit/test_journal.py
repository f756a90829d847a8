import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snapferry.errors import Unavailable
from snapferry.journal import BUCKET, Journal, Place, side_of
from tests.unit.conftest import DESTINATION
from tests.unit.tables import table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

RECOVERY = Place(DESTINATION, "cluster_setting", "persistent/indices.recovery.max_bytes_per_sec")
STATEMENT = Place(BUCKET, "policy_statement", "Snapferry")
REPOSITORY = Place(side_of("logs"), "repository", "snapferry")


@dataclass
class World:
    """Values by place, which can be out of reach, and a function that dies at its effect.

    Attributes:
        values: what is there.
        out_of_reach: places that can neither be read nor written.
        written: the places that were written, in that order.
        dies: before the effect, after it, or not at all.
    """

    values: dict[Place, Any] = field(default_factory=dict)
    out_of_reach: set[Place] = field(default_factory=set)
    written: list[Place] = field(default_factory=list)
    dies: Literal["before", "after"] | None = None

    def find(self, place: Place) -> "Value":
        return Value(self, place)

    def find_many(self, place: Place) -> "Values":
        places = [replace(place, key=key) for key in place.key.split(",")]
        return Values({each.key: self.find(each) for each in places})


@dataclass
class Value:
    world: World
    place: Place

    def read(self) -> Any:
        if self.place in self.world.out_of_reach:
            raise Unavailable(f"{self.place} can't be reached")
        return self.world.values.get(self.place)

    def write(self, value: Any) -> None:
        if self.world.dies == "before":
            raise SystemExit
        self.world.written.append(self.place)
        self.world.values[self.place] = value
        if self.world.dies == "after":
            raise SystemExit


@dataclass
class Values:
    each: dict[str, Value]

    def read(self) -> Any:
        return {key: value.read() for key, value in self.each.items()}

    def write(self, values: dict[str, Any]) -> None:
        for key, value in values.items():
            self.each[key].write(value)


@pytest.fixture
def items() -> Iterator["Table"]:
    with table() as made:
        yield made


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def changes(items: "Table") -> Journal:
    return Journal(items, "m-1")


@pytest.fixture
def change(changes: Journal, world: World) -> Callable[[Place, Any], None]:
    return lambda place, value: changes.change(place, world.find(place), value)


def test_gives_back_what_was_there(
    changes: Journal, world: World, change: Callable[[Place, Any], None]
) -> None:
    before = {RECOVERY: "40mb", STATEMENT: None, REPOSITORY: None}
    world.values = dict(before)
    change(STATEMENT, {"Effect": "Allow"})
    change(REPOSITORY, {"bucket": "b"})
    change(RECOVERY, "0")
    world.written.clear()

    outcome = changes.give_back(world.find)

    assert world.values == before
    assert world.written == [RECOVERY, REPOSITORY, STATEMENT]
    assert (len(outcome.done), outcome.foreign, outcome.failed, outcome.waiting) == (3, [], [], 0)
    assert changes.open_changes() == []
    assert changes.give_back(world.find).done == []


def test_what_is_so_already_is_not_touched(
    changes: Journal, world: World, change: Callable[[Place, Any], None]
) -> None:
    world.values[RECOVERY] = "0"
    change(RECOVERY, "0")

    changes.give_back(world.find)

    assert world.values[RECOVERY] == "0"
    assert world.written == []


def test_change_is_noted_before_it_is_made(
    changes: Journal, world: World, change: Callable[[Place, Any], None]
) -> None:
    world.values[RECOVERY] = "40mb"
    world.dies = "before"
    with pytest.raises(SystemExit):
        change(RECOVERY, "0")
    world.dies = None

    [noted] = changes.open_changes()
    assert (noted.before, noted.ours) == ("40mb", ("0",))
    change(RECOVERY, "0")
    changes.give_back(world.find)
    assert world.values[RECOVERY] == "40mb"


def test_old_value_is_kept_through_repetitions_and_further_changes(
    changes: Journal, world: World, change: Callable[[Place, Any], None]
) -> None:
    world.values[RECOVERY] = "40mb"
    for value in ("0", "0", "100mb", "0"):
        change(RECOVERY, value)

    changes.give_back(world.find)

    assert world.values[RECOVERY] == "40mb"


def test_value_that_somebody_else_set_is_left_and_reported(
    changes: Journal, world: World, change: Callable[[Place, Any], None]
) -> None:
    world.values[RECOVERY] = "40mb"
    change(RECOVERY, "0")
    change(REPOSITORY, {"bucket": "b"})
    world.values[RECOVERY] = "80mb"

    outcome = changes.give_back(world.find)

    assert world.values == {RECOVERY: "80mb", REPOSITORY: None}
    [note] = outcome.foreign
    assert "80mb" in note
    assert "40mb" in note
    assert changes.foreign_changes() == [note]
    assert changes.open_changes() == []


def test_value_that_somebody_set_between_two_attempts_is_what_is_given_back(
    changes: Journal, world: World, change: Callable[[Place, Any], None]
) -> None:
    world.values[RECOVERY] = "40mb"
    change(RECOVERY, "0")
    world.values[RECOVERY] = "80mb"
    change(RECOVERY, "0")

    changes.give_back(world.find)

    assert world.values[RECOVERY] == "80mb"


def test_changes_that_were_given_back_can_be_made_again(
    changes: Journal, world: World, change: Callable[[Place, Any], None]
) -> None:
    world.values = {RECOVERY: "40mb", STATEMENT: None}
    change(STATEMENT, 1)
    change(RECOVERY, "0")
    changes.give_back(world.find, kinds={"cluster_setting"})
    assert world.values == {RECOVERY: "40mb", STATEMENT: 1}
    world.values[RECOVERY] = "60mb"

    change(RECOVERY, "0")
    changes.give_back(world.find)

    assert world.values == {RECOVERY: "60mb", STATEMENT: None}


def test_side_that_fails_keeps_what_it_needs_until_the_next_attempt(
    changes: Journal, world: World, change: Callable[[Place, Any], None]
) -> None:
    mapping = Place(side_of("logs"), "role_mapping", "manage_snapshots")
    for place in (STATEMENT, mapping, REPOSITORY, RECOVERY):
        change(place, 1)
    world.out_of_reach = {REPOSITORY}

    first = changes.give_back(world.find)

    assert [failed.partition(":")[0] for failed in first.failed] == [str(REPOSITORY)]
    assert first.waiting == 2
    assert world.values == {STATEMENT: 1, mapping: 1, REPOSITORY: 1, RECOVERY: None}

    world.out_of_reach = set()
    second = changes.give_back(world.find)
    assert (len(second.done), second.failed, second.waiting) == (3, [], 0)
    assert set(world.values.values()) == {None}


def test_stops_when_its_time_is_over(
    changes: Journal, world: World, change: Callable[[Place, Any], None]
) -> None:
    change(RECOVERY, "0")
    assert changes.give_back(world.find, leave_at=0).waiting == 1
    assert len(changes.open_changes()) == 1


def test_migrations_have_journals_of_their_own(
    items: "Table", changes: Journal, world: World, change: Callable[[Place, Any], None]
) -> None:
    change(RECOVERY, "0")
    other = Journal(items, "m-2")
    assert other.open_changes() == []
    other.give_back(world.find)
    assert len(changes.open_changes()) == 1


# What the migration sets, and what others do: that they never agree is what tells them apart.
places = st.sampled_from([RECOVERY, STATEMENT, REPOSITORY])
deaths = st.sampled_from(["before", "after", None])
events = st.one_of(
    st.tuples(st.just("change"), places, st.sampled_from([1, 2, None]), deaths),
    st.tuples(st.just("touch"), places, st.sampled_from(["a", "b"])),
    st.tuples(st.just("give back"), st.sets(places), deaths),
)
migration_ids = itertools.count()


# Each example is a migration of its own.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.dictionaries(places, st.just("as found")),
    story=st.lists(events, max_size=12),
)
def test_each_place_ends_as_others_left_it(
    items: "Table", before: dict[Place, Any], story: list[Any]
) -> None:
    journal = Journal(items, f"m-{next(migration_ids)}")
    world = World(values=dict(before))
    expected: dict[Place, Any] = dict(before)

    for event in story:
        match event:
            case "change", place, value, dies:
                world.dies = dies
                with contextlib.suppress(SystemExit):
                    journal.change(place, world.find(place), value)
            case "touch", place, value:
                world.values[place] = expected[place] = value
            case "give back", out_of_reach, dies:
                world.out_of_reach, world.dies = out_of_reach, dies
                with contextlib.suppress(SystemExit):
                    journal.give_back(world.find)
                world.out_of_reach = set()
        world.dies = None
    outcome = journal.give_back(world.find)

    assert (outcome.failed, outcome.waiting) == ([], 0)
    assert journal.open_changes() == []
    assert {place: world.values.get(place) for place in (RECOVERY, STATEMENT, REPOSITORY)} == {
        place: expected.get(place) for place in (RECOVERY, STATEMENT, REPOSITORY)
    }


def test_what_is_kept_is_left_until_it_is_released(
    changes: Journal, world: World, change: Callable[[Place, Any], None]
) -> None:
    elsewhere = replace(RECOVERY, side=side_of("other"))
    for place in (RECOVERY, STATEMENT, elsewhere):
        change(place, "ours")
    changes.keep(RECOVERY.side, {RECOVERY.kind})

    outcome = changes.give_back(world.find)

    assert (len(outcome.done), outcome.foreign, outcome.failed, outcome.waiting) == (2, [], [], 0)
    assert (world.values[RECOVERY], world.values[elsewhere]) == ("ours", None)
    [note] = changes.kept_changes()
    assert str(RECOVERY) in note
    assert changes.release(side_of("other")) == 0
    assert changes.release(RECOVERY.side) == 1
    assert changes.kept_changes() == []
    changes.give_back(world.find)
    assert world.values[RECOVERY] is None


INDICES = [replace(RECOVERY, key=f"index-{number}") for number in range(600)]


def test_changes_of_thousands_of_indices_take_a_few_calls(
    items: "Table", changes: Journal, world: World
) -> None:
    calls: list[str] = []
    items.meta.client.meta.events.register(
        "before-call.dynamodb", lambda model, **_: calls.append(model.name)
    )

    changes.note_all(dict.fromkeys(INDICES, "as found"), "ours")

    assert Counter(calls) == {"UpdateItem": 1, "Query": 1, "PutItem": 64}
    assert {change.place for change in changes.open_changes()} == set(INDICES)
    world.values = dict.fromkeys(INDICES, "ours")
    calls.clear()
    changes.keep(RECOVERY.side, {RECOVERY.kind})
    assert calls.count("PutItem") == 64
    assert changes.give_back(world.find_many).done == []
    assert len(changes.kept_changes()) == len(INDICES)
    assert changes.release(RECOVERY.side) == len(INDICES)
    assert len(changes.give_back(world.find_many).done) == len(INDICES)
    assert world.values == dict.fromkeys(INDICES, "as found")


def test_changes_of_fifty_thousand_indices_fit_into_their_items(changes: Journal) -> None:
    places = [replace(RECOVERY, key=f"{number:i>255}") for number in range(50_000)]

    changes.note_all(dict.fromkeys(places, "false"), "true")
    changes.forget(RECOVERY.side, {RECOVERY.kind})

    assert Counter(change.state for change in changes.changes()) == {"given_back": len(places)}


def test_each_of_many_changes_is_given_back_by_itself(changes: Journal, world: World) -> None:
    """What somebody else changed is left; a later value of what was noted again counts."""
    mine, back, foreign, gone = INDICES[:4]
    before = dict.fromkeys(INDICES, "as found") | {gone: None}
    changes.note_all(before, "ours")
    world.values = dict.fromkeys(INDICES, "ours") | {back: "as found", foreign: "somebody's"}
    world.written.clear()

    outcome = changes.give_back(world.find_many)

    assert world.values == before | {foreign: "somebody's"}
    assert back not in world.written
    assert len(outcome.done) == len(INDICES) - 1
    [note] = outcome.foreign
    assert note == changes.foreign_changes()[0]
    assert note.startswith(str(foreign))
    assert "somebody's" in note
    assert (str(mine) in outcome.done, str(gone) in outcome.done) == (True, True)
    assert changes.open_changes() == []


def test_many_changes_that_cannot_be_given_back_wait(changes: Journal, world: World) -> None:
    changes.note_all(dict.fromkeys(INDICES, "as found"), "ours")
    world.values = dict.fromkeys(INDICES, "ours")
    world.out_of_reach = {INDICES[0]}

    outcome = changes.give_back(world.find_many)

    assert len(outcome.failed) == 1
    assert len(outcome.done) + 1 + outcome.waiting == len(INDICES)
    assert world.values[INDICES[0]] == "ours"
    assert len(changes.open_changes()) == outcome.waiting + 1
    world.out_of_reach = set()
    changes.give_back(world.find_many)
    assert world.values == dict.fromkeys(INDICES, "as found")


def test_a_change_that_is_noted_anew_while_it_is_given_back_stays_open(
    changes: Journal, world: World
) -> None:
    """Also if others, which share its item, are given back by the same call."""
    changes.note_all(dict.fromkeys(INDICES, "as found"), "ours")
    world.values = dict.fromkeys(INDICES, "ours")
    again = INDICES[0]

    class Interrupted(Values):
        def write(self, values: dict[str, Any]) -> None:
            super().write(values)
            if again.key in values:
                changes.note_all({again: "as found"}, "ours")
                world.values[again] = "ours"

    changes.give_back(lambda place: Interrupted(world.find_many(place).each))

    assert [change.place for change in changes.open_changes()] == [again]
    changes.give_back(world.find_many)
    assert world.values == dict.fromkeys(INDICES, "as found")


def test_two_calls_that_note_many_changes_at_the_same_time_lose_none(
    items: "Table", changes: Journal
) -> None:
    other = Journal(items, changes.migration_id)

    def note_in_between(**_: Any) -> None:
        items.meta.client.meta.events.unregister("before-call.dynamodb.PutItem", note_in_between)
        other.note_all(dict.fromkeys(INDICES[:400], "as found"), "other")

    items.meta.client.meta.events.register("before-call.dynamodb.PutItem", note_in_between)
    changes.note_all(dict.fromkeys(INDICES[200:], "as found"), "ours")

    noted = {change.place: set(change.ours) for change in changes.open_changes()}
    assert noted == {
        place: ({"other"} if number < 400 else set()) | ({"ours"} if number >= 200 else set())
        for number, place in enumerate(INDICES)
    }


def test_many_changes_are_noted_like_single_ones(changes: Journal) -> None:
    """What is noted already keeps its first value; what someone else made it since counts."""
    first, second, third = INDICES[:3]
    changes.note_all(dict.fromkeys((first, second), "as found"), "earlier")

    changes.note_all({first: "earlier", second: "somebody's", third: "as found"}, "ours")

    noted = {change.place: change for change in changes.open_changes()}
    assert [noted[place].before for place in (first, second, third)] == [
        "as found",
        "somebody's",
        "as found",
    ]
    assert noted[first].ours == ("earlier", "ours")
