"""What a migration has changed in the outside world, and what was there before.

An entry is written before its change is made, so that the change can be given back whatever happens
afterwards. Changes are small: a statement of a bucket's policy, a setting, an entry of a role's
mapping, never a whole document, because someone else may change the rest of it meanwhile.
"""

import json
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, Protocol, SupportsBytes

from snapferry import table
from snapferry.errors import SnapferryError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

type ChangeState = Literal["open", "given_back", "foreign", "kept", "handed_over", "given_up"]

BUCKET = "bucket"
SECRETS = "secrets"
_SOURCE = "source/"
_DESTINATION = "destination/"
_PREFIX = "change#"
# So many hold the changes of 50,000 indices with the longest names, each below 400 KB.
_SHARED_ITEMS = 64
# Of the 400 KB of an item.
_LONGEST_TEXT_BYTES = 300 * 1024
# Fewer than the connections that the table's client keeps.
_WRITES_AT_ONCE = 8


class Changeable(Protocol):
    """A value in the outside world. It is plain JSON; None where there is none.

    Values that are noted together are also given back together: by one changeable for many of them,
    whose key is theirs, with commas between them, and whose value is an object of theirs by key.
    """

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
        return f"{self.what} ({self.side})"

    @property
    def what(self) -> str:
        """In words, what it is on its side."""
        return f"{self.kind.replace('_', ' ')} {self.key}"


def side_of(domain: str) -> str:
    """The side of a domain, by its name in the input."""
    return _SOURCE + domain


def domain_of(side: str) -> str:
    """The name of the domain that a side is."""
    return side.removeprefix(_SOURCE)


def destination_side(endpoint: str) -> str:
    """The side of a destination, by its address."""
    return _DESTINATION + endpoint


@dataclass(frozen=True)
class Change:
    """An entry of the journal.

    Attributes:
        place: where the value is.
        number: by which changes are ordered; those that were noted together have the same.
        before: what was there before.
        ours: every value that the migration set.
        version: counts how many times it was noted.
        shared: whether it was noted together with others.
        state: `open`, `given_back`, `foreign`, `kept`, `handed_over` or `given_up`.
        found: what someone else made it, where it is `foreign`.
    """

    place: Place
    number: int
    before: Any
    ours: tuple[Any, ...]
    version: int
    shared: bool
    state: ChangeState = "open"
    found: Any = None

    @property
    def note(self) -> str:
        """In words, what people have to know of it; empty where that is nothing."""
        before, ours = _text(self.before), _text(self.ours[-1])
        match self.state:
            case "foreign":
                return (
                    f"{self.place}: someone else made it {_text(self.found)}; the migration found "
                    f"{before} and made it {ours}"
                )
            case "kept":
                return (
                    f"{self.place}: the migration made it {ours} and leaves it, because clients "
                    f"may have moved; it was {before} before"
                )
            case "given_up":
                return (
                    f"{self.place}: people gave it up; it was {before} before, and the migration "
                    f"made it {ours}"
                )
        return ""

    @property
    def record(self) -> str:
        """Of the table's item that holds it, among those of its kind if it is shared."""
        return _shared_record(self.place) if self.shared else _record(self.place)


@dataclass(frozen=True)
class _Item:
    """An item of the table, with one change or with many that share it.

    Attributes:
        changes: by their keys.
        version: counts the states of the item.
    """

    changes: Mapping[str, Change] = field(default_factory=dict)
    version: int = 0


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
        number, record = self._next_number(), _record(place)
        revised = self._revise(
            record,
            self._item(record),
            lambda noted: [
                _following(noted.get(place.key), place, present, value, number, shared=False)
            ],
        )
        return revised[0]

    def note_all(self, present: Mapping[Place, Any], value: Any) -> None:
        """Notes changes as `note` does: those of thousands of indices, which share items.

        A partition of a table takes 1,000 writes a second.

        Args:
            present: what is there now, by its place.
            value: to be set in each place.
        """
        if not present:
            return
        number = self._next_number()
        items = dict(self._items())
        places: dict[str, list[Place]] = defaultdict(list)
        for place in present:
            places[_shared_record(place)].append(place)

        def note(record: str) -> None:
            self._revise(
                record,
                items.get(record, _Item()),
                lambda noted: [
                    _following(
                        noted.get(place.key), place, present[place], value, number, shared=True
                    )
                    for place in places[record]
                ],
            )

        _for_each(note, places)

    def changes(self) -> list[Change]:
        """All changes, in their order, whatever has become of them."""
        changes = [change for _, item in self._items() for change in item.changes.values()]
        return sorted(changes, key=lambda change: (change.number, change.record, change.place.key))

    def open_changes(
        self, kinds: Collection[str] | None = None, side: str | None = None
    ) -> list[Change]:
        """The changes that aren't given back, the last first; of some kinds or a side, if given."""
        return [
            change
            for change in reversed(self.changes())
            if change.state == "open"
            and (kinds is None or change.place.kind in kinds)
            and side in (None, change.place.side)
        ]

    def foreign_changes(self) -> list[str]:
        """In words, what was left: someone else changed it meanwhile, or people gave it up."""
        states = ("foreign", "given_up")
        return [change.note for change in self.changes() if change.state in states]

    def give_up(self, side: str) -> None:
        """Leaves for good what was changed on a side that is gone, whatever was to become of it."""
        self._turn(
            replace(change, state="given_up")
            for change in self.changes()
            if change.place.side == side and change.state in ("open", "kept")
        )

    def hand_over(self, places: Collection[Place]) -> None:
        """Leaves what was changed in some places for good: it is the clients' from here on."""
        changes = self.open_changes()
        self._turn(
            replace(change, state="handed_over") for change in changes if change.place in places
        )

    def leave(self, found: Mapping[Place, Any]) -> None:
        """Leaves what someone else has set, after it was noted and before the migration did.

        Args:
            found: what is there now, by its place; it is reported.
        """
        self._turn(
            replace(change, state="foreign", found=found[change.place])
            for change in self.open_changes()
            if change.place in found
        )

    def forget(self, side: str, kinds: Collection[str]) -> None:
        """Needs nothing to be given back of what was never made, or is as it was before.

        Args:
            side: where it was noted.
            kinds: which of it.
        """
        self._turn(replace(change, state="given_back") for change in self.open_changes(kinds, side))

    def keep(self, side: str, kinds: Collection[str]) -> None:
        """From here on a roll-back leaves changes as they are, until `release`.

        Args:
            side: where they were made.
            kinds: which of them.
        """
        self._turn(replace(change, state="kept") for change in self.open_changes(kinds, side))

    def release(self, side: str) -> int:
        """Lets the roll-back give back what was kept on a side; returns how many changes."""
        kept = [
            change
            for change in self.changes()
            if change.state == "kept" and change.place.side == side
        ]
        self._turn(replace(change, state="open") for change in kept)
        return len(kept)

    def kept_changes(self) -> list[str]:
        """In words, what was kept and not released."""
        return [change.note for change in self.changes() if change.state == "kept"]

    def give_back(
        self,
        find: Callable[[Place], Changeable],
        kinds: Collection[str] | None = None,
        leave_at: float = float("inf"),
        side: str | None = None,
    ) -> GivenBack:
        """Gives changes back, the last first, those that share an item together.

        Where the present value is neither the migration's nor the old one, someone else changed
        it: that is reported, and left. Where a cluster fails, its earlier changes wait, and the
        bucket's too, since they may be what the failed one needs to be given back.

        Args:
            find: what reads and writes the value of a place.
            kinds: of these kinds only; all if None.
            leave_at: when to stop, in seconds of the epoch.
            side: of this side only; all if None.

        Returns:
            What came of it.
        """
        outcome = GivenBack()
        failed_sides: set[str] = set()
        for _, group in groupby(
            self.open_changes(kinds, side), key=lambda change: (change.number, change.record)
        ):
            changes = list(group)
            made_on = changes[0].place.side
            blocked = made_on in failed_sides or (made_on == BUCKET and failed_sides)
            if blocked or time.time() >= leave_at:
                outcome.waiting += len(changes)
                continue
            try:
                present = _given_back(changes, find)
            except SnapferryError as error:
                failed_sides.add(made_on)
                outcome.failed.append(f"{changes[0].place}: {error}")
                outcome.waiting += len(changes) - 1
                continue
            ended = [
                replace(change, state="given_back")
                if found == change.before
                else replace(change, state="foreign", found=found)
                for change, found in zip(changes, present, strict=True)
            ]
            self._turn(ended)
            for change in ended:
                if change.state == "foreign":
                    outcome.foreign.append(change.note)
                else:
                    outcome.done.append(str(change.place))
        return outcome

    def _turn(self, changes: Iterable[Change]) -> None:
        """Brings changes into other states."""
        turned: dict[str, list[Change]] = defaultdict(list)
        for change in changes:
            turned[change.record].append(change)
        items = dict(self._items()) if len(turned) > 1 else {}

        def turn(record: str) -> None:
            self._revise(
                record,
                items.get(record) or self._item(record),
                lambda noted: [
                    change
                    for change in turned[record]
                    # What was noted anew meanwhile is open by intent.
                    if noted[change.place.key].version == change.version
                ],
            )

        _for_each(turn, turned)

    def _revise(
        self,
        record: str,
        item: _Item,
        revise: Callable[[Mapping[str, Change]], list[Change]],
    ) -> list[Change]:
        """Puts changes into an item, after what is there of them, whoever else does so.

        Args:
            record: of the item.
            item: as it was seen last.
            revise: makes them of those that are there, by key.
        """
        while True:
            revised = revise(item.changes)
            changes = {**item.changes, **{change.place.key: change for change in revised}}
            if not revised or self._put(record, _Item(changes, item.version + 1)):
                return revised
            item = self._item(record)

    def _items(self) -> Iterator[tuple[str, _Item]]:
        for stored in table.query(self.items, self.migration_id, _PREFIX):
            yield stored["record"], _parsed(stored)

    def _item(self, record: str) -> _Item:
        stored = table.get(self.items, self.migration_id, record)
        return _parsed(stored) if stored else _Item()

    def _put(self, record: str, item: _Item) -> bool:
        """Writes an item over its previous version; False where another version is there."""
        first, *_ = item.changes.values()
        return table.put_if(
            self.items,
            {
                "migration_id": self.migration_id,
                "record": record,
                "side": first.place.side,
                "kind": first.place.kind,
                "shared": first.shared,
                # As text: numbers keep their digits, and nothing is too deep for the table.
                "changes": _packed(
                    {
                        key: {
                            "number": change.number,
                            "before": change.before,
                            "ours": change.ours,
                            "version": change.version,
                            "state": change.state,
                            "found": change.found,
                        }
                        for key, change in item.changes.items()
                    }
                ),
                "version": item.version,
                "updated_at": int(time.time()),
            },
            "attribute_not_exists(#record) OR #version = :previous",
            previous=item.version - 1,
        )

    def _next_number(self) -> int:
        """Takes the next number of changes."""
        answer = self.items.update_item(
            Key={"migration_id": self.migration_id, "record": "last_change"},
            UpdateExpression="ADD #number :one",
            ExpressionAttributeNames={"#number": "number"},
            ExpressionAttributeValues={":one": 1},
            ReturnValues="UPDATED_NEW",
        )
        return int(answer["Attributes"]["number"])  # type: ignore[arg-type]


def _given_back(changes: Sequence[Change], find: Callable[[Place], Changeable]) -> list[Any]:
    """Gives back those that are the migration's still; returns what is there now in each place."""
    place = changes[0].place
    shared = changes[0].shared
    keys = [change.place.key for change in changes]
    changeable = find(replace(place, key=",".join(keys)))
    present = changeable.read() if shared else {place.key: changeable.read()}
    before = {
        change.place.key: change.before
        for change in changes
        if present[change.place.key] != change.before and present[change.place.key] in change.ours
    }
    if before:
        changeable.write(before if shared else before[place.key])
    return [(present | before)[key] for key in keys]


def _for_each(call: Callable[[str], None], records: Iterable[str]) -> None:
    with ThreadPoolExecutor(_WRITES_AT_ONCE) as pool:
        for _ in pool.map(call, records):
            pass


def _following(
    noted: Change | None, place: Place, present: Any, value: Any, number: int, *, shared: bool
) -> Change:
    """The entry of a change after what is there of it; only a new one takes the number."""
    version = noted.version + 1 if noted else 1
    if noted is None or noted.state != "open":
        return Change(place, number, present, (value,), version, shared)
    ours = noted.ours if value in noted.ours else (*noted.ours, value)
    # Not ours and noted by an earlier attempt: someone else was here in between.
    before = noted.before if present in noted.ours else present
    return replace(noted, before=before, ours=ours, version=version)


def _record(place: Place) -> str:
    return f"{_PREFIX}{place.side}#{place.kind}#{place.key}"


def _shared_record(place: Place) -> str:
    number = zlib.crc32(place.key.encode()) % _SHARED_ITEMS
    return f"{_PREFIX}{place.side}#{place.kind}##{number}"


def _parsed(stored: Mapping[str, Any]) -> _Item:
    return _Item(
        {
            key: Change(
                Place(stored["side"], stored["kind"], key),
                change["number"],
                change["before"],
                tuple(change["ours"]),
                change["version"],
                stored["shared"],
                change["state"],
                change["found"],
            )
            for key, change in _unpacked(stored["changes"]).items()
        },
        int(stored["version"]),
    )


def _packed(changes: Mapping[str, Any]) -> str | bytes:
    """As text that people can read, unless that is too long: a definition may have megabytes."""
    text = json.dumps(changes)
    return text if len(text) <= _LONGEST_TEXT_BYTES else zlib.compress(text.encode())


def _unpacked(packed: str | SupportsBytes) -> dict[str, Any]:
    text = packed if isinstance(packed, str) else zlib.decompress(bytes(packed))
    changes: dict[str, Any] = json.loads(text)
    return changes


def _text(value: Any) -> str:
    return "absent" if value is None else json.dumps(value, sort_keys=True)
