"""What a migration has changed in the outside world, and what was there before.

An entry is written before its change is made, so that the change can be given back whatever happens
afterwards. Changes are small: a statement of a bucket's policy, a setting, an entry of a role's
mapping, never a whole document, because someone else may change the rest of it meanwhile.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from snapferry import table
from snapferry.errors import SnapferryError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

BUCKET = "bucket"
SECRETS = "secrets"
_SOURCE = "source/"
_DESTINATION = "destination/"
_PREFIX = "change#"
# Fewer than the connections that the table's client keeps.
_WRITES_AT_ONCE = 8


class Changeable(Protocol):
    """A value in the outside world. It is plain JSON; None where there is none."""

    def read(self) -> Any:
        """The present value."""

    def write(self, value: Any) -> None:
        """Sets the value; None removes it. It may run twice."""


@dataclass(frozen=True)
class Place:
    """Where a value is.

    Attributes:
        side: `bucket`, `secrets` or what `side_of` or `destination_side` returns.
        kind: what it is, such as `repository`.
        key: which one of its kind, such as the repository's name.
    """

    side: str
    kind: str
    key: str

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.key} ({self.side})"


def side_of(domain: str) -> str:
    """The side of a domain, by its name in the input."""
    return _SOURCE + domain


def destination_side(endpoint: str) -> str:
    """The side of a destination, by its address."""
    return _DESTINATION + endpoint


@dataclass(frozen=True)
class Change:
    """An entry of the journal.

    Attributes:
        place: where the value is.
        number: counts the changes of the migration.
        before: what was there before.
        ours: every value that the migration set.
        version: counts the states of this entry.
    """

    place: Place
    number: int
    before: Any
    ours: tuple[Any, ...]
    version: int


@dataclass
class GivenBack:
    """What came of giving changes back, each in words.

    Attributes:
        done: given back now, or found as it was before.
        foreign: changed by someone else meanwhile; reported, and left as it is.
        failed: still to be given back, with the reason.
        waiting: number of changes whose turn hasn't come, because of those that failed or of time.
    """

    done: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    waiting: int = 0


@dataclass(frozen=True)
class Journal:
    """The changes of one migration.

    Attributes:
        items: the table of the stack.
        migration_id: whose changes.
    """

    items: "Table"
    migration_id: str

    def change(self, place: Place, changeable: Changeable, value: Any) -> None:
        """Sets a value, after noting what was there before; what is so already isn't touched.

        Args:
            place: where the value is.
            changeable: reads and writes it.
            value: to be set; None removes it.
        """
        present = changeable.read()
        if present != value:
            self.note(place, present, value)
            changeable.write(value)

    def note(self, place: Place, present: Any, value: Any) -> Change:
        """Notes a change before it is made, however many attempts and others note it, too.

        For what makes many changes by one call; a single one is `change`d.

        Args:
            place: where the value is.
            present: what is there now.
            value: to be set.

        Returns:
            The entry, which also says what others of this migration have noted before.
        """
        while True:
            item = table.get(self.items, self.migration_id, _record(place))
            change = _following(item, place, present, value, lambda: next(self._numbers(1)))
            if self._put(change, "open", ""):
                return change

    def note_all(self, present: Mapping[Place, Any], value: Any) -> None:
        """Notes changes as `note` does, side by side: those of thousands of indices.

        Args:
            present: what is there now, by its place.
            value: to be set in each place.
        """
        if not present:
            return
        items = {
            item["record"]: item for item in table.query(self.items, self.migration_id, _PREFIX)
        }
        numbers = self._numbers(len(present))
        changes = [
            _following(items.get(_record(place)), place, before, value, lambda: next(numbers))
            for place, before in present.items()
        ]

        def put(change: Change) -> None:
            if not self._put(change, "open", ""):
                self.note(change.place, present[change.place], value)

        _for_each(put, changes)

    def open_changes(
        self, kinds: Collection[str] | None = None, side: str | None = None
    ) -> list[Change]:
        """The changes that aren't given back, the last first; of some kinds or a side, if given."""
        changes = [
            _change(item)
            for item in self._in_state("open")
            if (kinds is None or item["kind"] in kinds) and side in (None, item["side"])
        ]
        return sorted(changes, key=lambda change: change.number, reverse=True)

    def foreign_changes(self) -> list[str]:
        """In words, what someone else changed meanwhile and was left."""
        return [item["note"] for item in self._in_state("foreign")]

    def hand_over(self, places: Collection[Place]) -> None:
        """Leaves what was changed in some places for good: it is the clients' from here on."""
        for change in self.open_changes():
            if change.place in places:
                self._close(change, "handed_over", "")

    def keep(self, side: str, kinds: Collection[str]) -> None:
        """From here on a roll-back leaves changes as they are, until `release`.

        Args:
            side: where they were made.
            kinds: which of them.
        """

        def close(change: Change) -> None:
            note = (
                f"{change.place}: the migration made it {_text(change.ours[-1])} and leaves "
                f"it, because clients may have moved; it was {_text(change.before)} before"
            )
            self._close(change, "kept", note)

        _for_each(close, self.open_changes(kinds, side))

    def release(self, side: str) -> int:
        """Lets the roll-back give back what was kept on a side; returns how many changes."""
        kept = [_change(item) for item in self._in_state("kept") if item["side"] == side]
        _for_each(lambda change: self._close(change, "open", ""), kept)
        return len(kept)

    def kept_changes(self) -> list[str]:
        """In words, what was kept and not released."""
        return [item["note"] for item in self._in_state("kept")]

    def give_back(
        self,
        find: Callable[[Place], Changeable],
        kinds: Collection[str] | None = None,
        leave_at: float = float("inf"),
        side: str | None = None,
    ) -> GivenBack:
        """Gives changes back, the last first.

        Where the present value is neither the migration's nor the old one, someone else changed
        it: that is reported, and left. Where a cluster fails, its earlier changes wait, and the
        bucket's too, since they may be what the failed one needs to be given back.

        Args:
            find: what reads and writes the value of a place.
            kinds: of these kinds only; all if None.
            leave_at: when to stop, in seconds of the epoch.
            side: of this side only; all if None.
        """
        outcome = GivenBack()
        failed_sides: set[str] = set()
        for change in self.open_changes(kinds, side):
            made_on = change.place.side
            blocked = made_on in failed_sides or (made_on == BUCKET and failed_sides)
            if blocked or time.time() >= leave_at:
                outcome.waiting += 1
                continue
            try:
                changeable = find(change.place)
                present = changeable.read()
                if present != change.before and present in change.ours:
                    changeable.write(change.before)
                    present = change.before
            except SnapferryError as error:
                failed_sides.add(made_on)
                outcome.failed.append(f"{change.place}: {error}")
                continue
            if present == change.before:
                self._close(change, "given_back", "")
                outcome.done.append(str(change.place))
            else:
                note = (
                    f"{change.place}: someone else made it {_text(present)}; the migration found "
                    f"{_text(change.before)} and made it {_text(change.ours[-1])}"
                )
                self._close(change, "foreign", note)
                outcome.foreign.append(note)
        return outcome

    def _in_state(self, state: str) -> Iterator[dict[str, Any]]:
        for item in table.query(self.items, self.migration_id, _PREFIX):
            if item["state"] == state:
                yield item

    def _close(self, change: Change, state: str, note: str) -> None:
        # Without effect if it was noted anew meanwhile: then it is open by intent.
        self._put(replace(change, version=change.version + 1), state, note)

    def _put(self, change: Change, state: str, note: str) -> bool:
        """Writes an entry over its previous version; False where another version is there."""
        return table.put_if(
            self.items,
            {
                "migration_id": self.migration_id,
                "record": _record(change.place),
                "side": change.place.side,
                "kind": change.place.kind,
                "key": change.place.key,
                "number": change.number,
                # As text: numbers keep their digits, and nothing is too deep for the table.
                "before": json.dumps(change.before),
                "ours": json.dumps(change.ours),
                "version": change.version,
                "state": state,
                "note": note,
                "updated_at": int(time.time()),
            },
            "attribute_not_exists(#record) OR #version = :previous",
            previous=change.version - 1,
        )

    def _numbers(self, count: int) -> Iterator[int]:
        """Takes the next numbers of changes."""
        answer = self.items.update_item(
            Key={"migration_id": self.migration_id, "record": "last_change"},
            UpdateExpression="ADD #number :count",
            ExpressionAttributeNames={"#number": "number"},
            ExpressionAttributeValues={":count": count},
            ReturnValues="UPDATED_NEW",
        )
        last = int(answer["Attributes"]["number"])  # type: ignore[arg-type]
        return iter(range(last - count + 1, last + 1))


def _for_each(call: Callable[[Change], None], changes: Iterable[Change]) -> None:
    with ThreadPoolExecutor(_WRITES_AT_ONCE) as pool:
        for _ in pool.map(call, changes):
            pass


def _following(
    item: dict[str, Any] | None,
    place: Place,
    present: Any,
    value: Any,
    numbers: Callable[[], int],
) -> Change:
    """The entry of a change after what is there of it; a new one takes a number."""
    if item is None or item["state"] != "open":
        return Change(place, numbers(), present, (value,), (item["version"] if item else 0) + 1)
    noted = _change(item)
    ours = noted.ours if value in noted.ours else (*noted.ours, value)
    # Not ours and noted by an earlier attempt: someone else was here in between.
    before = noted.before if present in noted.ours else present
    return Change(place, noted.number, before, ours, noted.version + 1)


def _record(place: Place) -> str:
    return f"{_PREFIX}{place.side}#{place.kind}#{place.key}"


def _change(item: dict[str, Any]) -> Change:
    return Change(
        place=Place(item["side"], item["kind"], item["key"]),
        number=int(item["number"]),
        before=json.loads(item["before"]),
        ours=tuple(json.loads(item["ours"])),
        version=int(item["version"]),
    )


def _text(value: Any) -> str:
    return "absent" if value is None else json.dumps(value, sort_keys=True)
