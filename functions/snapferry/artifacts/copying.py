"""Copies artifacts: reads both sides, gives each its verdict, writes what is missing."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Literal

from opensearchpy import OpenSearch

from snapferry import migration, patterns
from snapferry.artifacts import users
from snapferry.artifacts.kinds import INTERNAL_USER, KINDS, Client, Kind, Owner
from snapferry.artifacts.saved_objects import Dashboards
from snapferry.artifacts.users import Vault
from snapferry.engines import Engine
from snapferry.errors import AccessDenied, Conflict, NotFound, RequestRefused
from snapferry.journal import Changeable, Journal, Place, destination_side
from snapferry.records import Records
from snapferry.request import DomainJob

type Outcome = Literal["create", "same", "conflict", "cannot"]

_KINDS: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
_REFUSALS = (AccessDenied, Conflict, NotFound, RequestRefused)
# Verdicts on what others better don't refer to.
_MISSING = ("conflict", "cannot")
_UNREADABLE = (
    "its password can't be read: make it at the destination, with the same backend roles, or have "
    "artifacts.internal_users create it"
)


@dataclass(frozen=True)
class Side:
    """The clients of a cluster.

    Attributes:
        cluster: as the migration's user or role.
        administrator: as who may read and change its security.
        dashboards: its Dashboards, likewise; None where the input doesn't say where it listens.
    """

    cluster: OpenSearch
    administrator: OpenSearch
    dashboards: Dashboards | None = None

    def client(self, kind: Kind) -> Any:
        """The one for artifacts of a kind."""
        return getattr(self, kind.owner)


@dataclass(frozen=True)
class Verdict:
    """What becomes of an artifact.

    Attributes:
        kind: what it is.
        name: its name; `*` where a kind can't be read at all.
        verdict: `create`, `same`, `conflict` or `cannot`.
        reason: what was changed about it, or why it isn't there; may be empty.
    """

    kind: str
    name: str
    verdict: Outcome
    reason: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What it is about."""
        return self.kind, self.name


@dataclass(frozen=True)
class Artifact:
    """An artifact of the destination, as a value that changes: its definition.

    Attributes:
        kind: what it is.
        owner: a client of who has it at the destination.
        name: its name.
        rest: what is written with the definition, and not to be read in it.
    """

    kind: Kind
    owner: Client
    name: str
    rest: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def read(self) -> Any:
        """The definition; None where there is none."""
        return self.kind.read(self.owner, self.name)

    def write(self, value: Any) -> None:
        """Creates it, or removes it."""
        if value is None:
            self.kind.remove(self.owner, self.name)
        else:
            whole = value | self.rest if self.rest else value
            self.kind.create(self.owner, self.name, whole)


def _journalled(kind: Kind) -> str:
    return f"copied_{kind.name.replace(' ', '_')}"


CHANGEABLES: Mapping[str, Callable[[Any, str], Changeable]] = {
    **{_journalled(kind): partial(Artifact, kind) for kind in KINDS},
    **users.CHANGEABLES,
}
OWNERS: Mapping[str, Owner] = {_journalled(kind): kind.owner for kind in KINDS}
"""Who has what is journalled as of a kind."""


def copy(
    journal: Journal,
    records: Records,
    job: DomainJob,
    source: Side,
    destination: Side,
    vault: Vault,
    *,
    moved: bool = False,
) -> dict[str, int]:
    """Copies what the input wants of a domain; what the destination has stays as it is.

    Args:
        journal: of the migration.
        records: takes the plan, and then the verdicts.
        job: the domain's.
        source: the domain.
        destination: the cluster that takes the indices.
        vault: takes the new passwords of users, where the input wants them.
        moved: whether clients have moved, and only what waited for that is copied; before, it has
            its verdict as far as that is known.

    Returns:
        How many there are of each verdict.

    Raises:
        Unavailable: a side can't answer; what was copied stays, and another call goes on.
    """
    earlier = [
        verdict
        for verdict in verdicts(records, job.domain.name)
        if moved and not _KINDS[verdict.kind].when_moved
    ]
    kinds = [kind for kind in KINDS if (kind.when_moved if moved else kind.is_foreseen)]
    ours = {change.place: change.ours for change in journal.open_changes(OWNERS)}
    planned = list(_plan(records, job, source, destination, kinds, ours))
    outcome = {verdict.key: verdict for verdict in (*earlier, *(each for each, _ in planned))}
    _keep(records, job, outcome.values())
    for verdict, definition in planned:
        if verdict.verdict == "create" and _KINDS[verdict.kind].when_moved == moved:
            outcome[verdict.key] = _create(
                journal,
                job,
                source,
                destination,
                vault,
                verdict,
                definition,
                outcome,
                ours.get(_place(job, verdict.key), ()),
            )
    _keep(records, job, outcome.values())
    counted = Counter(verdict.verdict for verdict in outcome.values())
    return {
        "created": counted["create"],
        "same": counted["same"],
        "conflicts": counted["conflict"],
        "impossible": counted["cannot"],
    }


def foresee(records: Records, job: DomainJob, source: Side, destination: Side) -> list[Place]:
    """What `copy` will create."""
    return [
        _place(job, verdict.key)
        for verdict, _ in _plan(records, job, source, destination, KINDS, {})
        if verdict.verdict == "create"
        and (verdict.kind != INTERNAL_USER or job.artifacts.internal_users == "create")
    ]


def verdicts(records: Records, domain: str) -> list[Verdict]:
    """What became of a domain's artifacts; none where they weren't copied yet."""
    return [Verdict(**verdict) for verdict in records.read(_name(domain), default=[])]


def hand_over(journal: Journal, job: DomainJob) -> None:
    """Leaves a domain's artifacts to the clients: no roll-back takes them away any more.

    Only a mark, as writes are stopped meanwhile.
    """
    journal.items.put_item(
        Item={"migration_id": journal.migration_id, "record": _handed_over(job.domain.name)}
    )


def leave_handed_over(journal: Journal, records: Records) -> None:
    """Closes the changes that belong to clients, before a roll-back gives the others back.

    Also those that another domain of the migration has made, where clients need them as well.
    """
    for job in migration.jobs(records):
        domain = job.domain.name
        if records.item(_handed_over(domain)) is None:
            continue
        there = [
            verdict
            for verdict in verdicts(records, domain)
            if verdict.verdict in ("create", "same")
        ]
        names = [verdict.name for verdict in there if verdict.kind == INTERNAL_USER]
        places = {_place(job, verdict.key) for verdict in there}
        journal.hand_over(places | users.places(journal, names))


def _plan(
    records: Records,
    job: DomainJob,
    source: Side,
    destination: Side,
    kinds: Iterable[Kind],
    ours: Mapping[Place, tuple[Any, ...]],
) -> Iterator[tuple[Verdict, Any]]:
    """The verdicts in the order in which the artifacts are written, each with its definition.

    What the migration has made itself, which `ours` holds, may differ in words from the source's.
    """
    earlier = verdicts(records, job.domain.name)
    created = {verdict.key for verdict in earlier if verdict.verdict == "create"}
    engine = Engine.of(destination.cluster)
    # An OpenSearch 1 may say that it is Elasticsearch.
    major = engine.version[0] if engine.is_opensearch else 1
    for kind in kinds:
        if kind.group in job.artifacts.include:
            try:
                yield from list(_plan_kind(kind, job, source, destination, created, ours, major))
            except _REFUSALS as error:
                yield Verdict(kind.name, "*", "cannot", str(error)), None


def _plan_kind(
    kind: Kind,
    job: DomainJob,
    source: Side,
    destination: Side,
    created: Collection[tuple[str, str]],
    ours: Mapping[Place, tuple[Any, ...]],
    major: int,
) -> Iterator[tuple[Verdict, Any]]:
    """The verdicts on those of one kind; what an earlier attempt has created is still `create`."""
    wanted = kind.read_all(source.client(kind))
    present = kind.read_all(destination.client(kind)) if wanted else {}
    for name, original in sorted(wanted.items()):
        if not _is_wanted(job, kind, name):
            continue
        definition, notes = kind.translate(original, major)
        key = kind.name, name
        if name in present and not _is_there(
            present[name], definition, ours.get(_place(job, key), ())
        ):
            reason = "the destination has another one of this name, which stays"
            yield Verdict(*key, "conflict", "; ".join([*notes, reason])), definition
        elif name in present and key not in created:
            yield Verdict(*key, "same", "; ".join(notes)), definition
        else:
            notes += kind.consequences(name, definition, source.cluster, destination.cluster)
            yield Verdict(*key, "create", "; ".join(notes)), definition


def _is_wanted(job: DomainJob, kind: Kind, name: str) -> bool:
    if any(patterns.matches(name, pattern) for pattern in job.artifacts.exclude):
        return False
    return kind.is_selected(name, job)


def _create(
    journal: Journal,
    job: DomainJob,
    source: Side,
    destination: Side,
    vault: Vault,
    verdict: Verdict,
    definition: Any,
    others: Mapping[tuple[str, str], Verdict],
    made: Sequence[Any],
) -> Verdict:
    """Creates an artifact, unless others that it refers to aren't the source's there."""
    kind = _KINDS[verdict.kind]
    for needed in kind.needs(verdict.name, definition):
        if needed in others and others[needed].verdict in _MISSING:
            reason = f"it needs the {' '.join(needed)}, which isn't the source's there"
            return _cannot(verdict, reason)
    if kind.name == INTERNAL_USER and job.artifacts.internal_users == "list":
        return _cannot(verdict, _UNREADABLE)
    artifact = Artifact(kind, destination.client(kind), verdict.name)
    try:
        if kind.name == INTERNAL_USER:
            password = vault.password(journal, verdict.name)
            artifact = replace(artifact, rest={"password": password})
            secret = vault.place(verdict.name).key
            verdict = replace(verdict, reason=f"its new password is in the secret {secret}")
        present = artifact.read()
        if present is None:
            if not artifact.rest:
                rest = kind.rest(source.client(kind), verdict.name)
                artifact = replace(artifact, rest=rest)
            place = _place(job, verdict.key)
            # Of two domains that want different ones at the same moment, the first to note it wins.
            present = journal.note(place, None, definition).ours[0]
            if present == definition:
                artifact.write(definition)
                # The cluster may have put it into other words.
                present = artifact.read()
                made = journal.note(place, definition, present).ours
    except _REFUSALS as error:
        return _cannot(verdict, str(error))
    if not _is_there(present, definition, made):
        reason = "someone else has made another one of this name meanwhile, which stays"
        return replace(verdict, verdict="conflict", reason=reason)
    return verdict


def _cannot(verdict: Verdict, reason: str) -> Verdict:
    """The verdict with why it can't be created, after what there was to say of it."""
    reasons = filter(None, (verdict.reason, reason))
    return replace(verdict, verdict="cannot", reason="; ".join(reasons))


def _is_there(present: Any, definition: Any, made: Sequence[Any]) -> bool:
    """Whether what the destination has is what is wanted.

    Also where it is what the migration has `made` of it, since an import may bring an object to the
    destination's version.
    """
    if _comparable(present) == _comparable(definition):
        return True
    return present in made and made[0] == definition


def _comparable(value: Any) -> Any:
    """A value in one of the several ways in which it can be written."""
    match value:
        case dict():
            parts = {name: _comparable(part) for name, part in value.items()}
            return {name: part for name, part in parts.items() if part not in (None, {}, [])}
        case list():
            return [_comparable(part) for part in value]
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
    return value


def _place(job: DomainJob, key: tuple[str, str]) -> Place:
    kind, name = key
    return Place(destination_side(job.destination.endpoint), _journalled(_KINDS[kind]), name)


def _keep(records: Records, job: DomainJob, found: Iterable[Verdict]) -> None:
    records.write(_name(job.domain.name), [asdict(verdict) for verdict in found])


def _handed_over(domain: str) -> str:
    return f"handed_over#{domain}"


def _name(domain: str) -> str:
    return f"{domain}/artifacts"
