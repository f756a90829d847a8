"""However and wherever a migration ends, everything but the data is as it was before."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from snapferry_sandbox.demo import leftovers
from snapferry_sandbox.faults import Way
from tests.sandbox.migrations import Sandbox, Started, fill, wait_until
from tests.workflow.state_machines import handler_of, states

INDEX = "stopped-1"
OTHER_INDEX = "stopped-2"
STATE_MACHINES = ("migrate", "migrate_domain", "snapshot", "restore", "catch_up")
HANDLER_WAYS = ("raise", "die", "hang", "linger")

# A migration that comes to as many states as one can.
EVERYWHERE = {
    "snapshots_afterwards": "delete",
    "bucket__base_path": "snapferry/stopped",
    "cutover": {"rounds": 2},
}
NIGHTLY: dict[str, Any] = {
    "mode": "snapshot_only",
    "cutover": {"gates": []},
    "series": {"name": "nightly", "retention": {"count": 1}},
}
RESTORE_ONLY = {"mode": "restore_only", "bucket__base_path": "snapferry/stopped-restore"}
# Two indices, each for a function of its own.
SLICED: dict[str, Any] = {
    "domain__indices": {"include": ["stopped-*"]},
    "cutover": {"rounds": 2, "shards_per_function": 1},
}
STOP_WRITES_ALONE = {"cutover": {"rounds": 2, "gates": ["stop_writes"]}}
PLAIN = EVERYWHERE | {"cutover": {"rounds": 1, "gates": []}}


@dataclass(frozen=True)
class Detour:
    """How a migration comes to a state by another way than `EVERYWHERE`.

    Attributes:
        handler: whose call goes otherwise.
        way: how.
        details: of the fault.
    """

    handler: str
    way: Way = "raise"
    details: Mapping[str, Any] = field(default_factory=dict)


# As a domain that keeps its objects to itself, so that all goes on by the bucket's ACL.
BY_ACL = Detour("prove_bucket_access", "answer", {"answer": {"way": "acl"}})
NOT_ENDED = {"answer": {"ended": False, "wait_seconds": 2}}
DETOURS = {
    ("migrate", "Go by the bucket's ACL"): BY_ACL,
    ("migrate_domain", "Let source write"): BY_ACL,
    ("migrate_domain", "Let destination read"): BY_ACL,
    ("migrate_domain", "Let source delete"): BY_ACL,
    ("snapshot", "Wait for the snapshot"): Detour("check_snapshot", "answer", NOT_ENDED),
    ("restore", "Wait for the restore"): Detour("check_restore", "answer", NOT_ENDED),
    ("catch_up", "Is the history long?"): Detour(
        "catch_up", "answer", {"answer": {"ended": False}}
    ),
    ("catch_up", "Explain failure"): Detour("catch_up"),
    ("catch_up", "Catching up failed"): Detour("catch_up"),
    ("migrate_domain", "Begin next round"): Detour(
        "weigh_another_round", "answer", {"answer": {"pays": True}}
    ),
    ("migrate_domain", "Return source to service"): Detour(
        "look_for_new_indices", "answer", {"answer": {"new": 1}}
    ),
    ("migrate_domain", "Unblock source"): Detour("list_indices"),
    ("migrate_domain", "Domain not moved"): Detour("list_indices"),
    ("migrate", "Explain failure of domain"): Detour("list_indices"),
    ("migrate", "Note failure of domain"): Detour("list_indices"),
    ("migrate", "Name domains that failed"): Detour("list_indices"),
    ("migrate", "Explain leftovers"): Detour("begin_roll_back"),
    ("migrate", "Name failure"): Detour("begin_migration"),
    ("migrate", "Migration failed"): Detour("begin_migration"),
    ("migrate", "Snapshot skipped"): Detour(
        "write_report", "answer", {"answer": {"status": "SKIPPED"}}
    ),
    ("migrate", "Name what can't be moved"): Detour(
        "write_plan", "answer", {"answer": {"error": "PlanRejected", "cause": "it is too old"}}
    ),
}


def changes_for(state_machine: str, state: str) -> dict[str, Any]:
    """How the request of a migration differs that comes to a state."""
    now = datetime.now(UTC)
    closed = {
        "begins_at": f"{now + timedelta(hours=2):%H:%M}",
        "ends_at": f"{now + timedelta(hours=3):%H:%M}",
    }
    changes: dict[tuple[str, str], dict[str, Any]] = {
        ("migrate_domain", "Verify copy"): {"cutover": {"rounds": 2, "catch_up": False}},
        ("migrate_domain", "Wait for the window"): {"cutover": {"rounds": 2, "window": closed}},
        # The gate before fails by the same function.
        ("migrate_domain", "Explain failure of write stop"): STOP_WRITES_ALONE,
        ("migrate_domain", "Writes not stopped"): STOP_WRITES_ALONE,
        **{
            ("migrate_domain", state): SLICED
            for state in ("Catch up each slice", "Begin slice", "Catch up slice", "End slice")
        },
        ("migrate_domain", "Attach policies"): {"artifacts": {"include": ["index_policies"]}},
        ("migrate_domain", "Domain snapshotted"): {"mode": "snapshot_only"},
        ("migrate_domain", "Are old snapshots to be deleted?"): {"mode": "snapshot_only"},
        ("migrate_domain", "Expire snapshots"): NIGHTLY,
        ("migrate_domain", "Verify restore"): RESTORE_ONLY,
        ("migrate_domain", "Domain restored"): RESTORE_ONLY,
        ("migrate", "Is a plan still to be made?"): RESTORE_ONLY,
        ("migrate", "Snapshot skipped"): NIGHTLY,
        ("migrate_domain", "Verify rehearsal"): {"mode": "rehearse"},
        ("migrate_domain", "Domain rehearsed"): {"mode": "rehearse"},
    }
    return changes.get((state_machine, state), {})


def detour_of(state_machine: str, state: str) -> Detour | None:
    """What leads to a state; for those that a Catch leads to, a failure."""
    if (state_machine, state) in DETOURS:
        return DETOURS[state_machine, state]
    definitions = states(state_machine)
    for name, task in definitions.items():
        handler = task["Type"] == "Task" and handler_of(task)
        # Which of the calls of a function fails can't be chosen.
        if not handler or handler == "cut_over" or name == "Catch up slice":
            continue
        following = task["Catch"][-1]["Next"]
        while following and definitions[following]["Type"] in ("Pass", "Fail"):
            if following == state:
                return Detour(handler)
            following = definitions[following].get("Next")
    return None


CASES = [
    (state_machine, state, way)
    for state_machine in STATE_MACHINES
    for state, definition in states(state_machine).items()
    # There a plan ends that nothing follows.
    if state != "Plan made"
    for way in (
        "abort",
        *(HANDLER_WAYS if definition["Type"] == "Task" and handler_of(definition) else ()),
    )
    # There a failure is none, and where it hangs another one does, before.
    if way == "abort" or state != "Catch up slice"
    # There a failure hides none: what came before is told.
    if way in ("abort", "linger") or state != "Unblock source"
]
# Each kind of change, and each of the ways but to raise, as `test_refusals` has it. The point of no
# return is in `test_cut_over`.
ALWAYS = [
    ("migrate", "Grant rights", "die"),
    ("snapshot", "Check snapshot", "abort"),
    ("restore", "Start restore", "hang"),
    ("migrate", "Register destination repository", "linger"),
]


@pytest.fixture(scope="module")
def source_index(sandbox: Sandbox) -> str:
    for index in (INDEX, OTHER_INDEX):
        fill(sandbox.source, index, 50)
    return INDEX


@pytest.fixture
def faulty(sandbox: Sandbox, source_index: str) -> Iterator[Sandbox]:
    sandbox.faults.clear()
    sandbox.destination.indices.delete(index=f"{INDEX},{OTHER_INDEX}", ignore_unavailable=True)
    # A test that failed may have left it blocked.
    sandbox.source.indices.put_settings(index=source_index, body={"index.blocks.write": None})
    yield sandbox
    sandbox.faults.clear()


@pytest.mark.parametrize(
    ("state_machine", "state", "way"),
    [
        pytest.param(
            *case, marks=() if case in ALWAYS else pytest.mark.exhaustive, id="-".join(case)
        )
        for case in CASES
    ],
)
def test_a_migration_that_is_stopped_leaves_nothing(
    faulty: Sandbox, pytestconfig: pytest.Config, state_machine: str, state: str, way: str
) -> None:
    sandbox = faulty
    before = leftovers.look(sandbox.world)
    if detour := detour_of(state_machine, state):
        sandbox.faults.arm(detour.handler, detour.way, **detour.details)
    changes = changes_for(state_machine, state)
    if changes == RESTORE_ONLY:
        taken = sandbox.migrate(sandbox.request(INDEX, **changes | {"mode": "snapshot_only"}))
        assert taken.status == "SUCCEEDED"
    started = pause(sandbox, state_machine, state, **changes)

    STOPS[way](sandbox, started, state_machine, state)

    sandbox.roll_back_of(started)
    wait_until(lambda: sandbox.mark(started) == "ended")
    left = leftovers.difference(before, leftovers.look(sandbox.world))
    if is_handed_over(sandbox, started, state, way):
        # Clients may have moved: only people may let the source take writes.
        assert left == [f'source-1: index.blocks.write of {INDEX}: absent before, "true" now']
        assert len(sandbox.record(started.migration_id, "roll_back")["kept"]) == 1
        sandbox.source.indices.put_settings(index=INDEX, body={"index.blocks.write": None})
    else:
        assert left == []
    # It takes as long as all the rest, so that `make test` has it once.
    if way == "die" or "not exhaustive" not in pytestconfig.getoption("markexpr"):
        assert again(sandbox, started) == ("SUCCEEDED", "")
        assert leftovers.difference(before, leftovers.look(sandbox.world)) == []


def pause(sandbox: Sandbox, state_machine: str, state: str, **changes: Any) -> Started:
    """Starts a migration that waits at a state."""
    sandbox.faults.pause_at(name_of(state_machine), state)
    started = sandbox.start(sandbox.request(INDEX, **(EVERYWHERE | changes)))
    sandbox.follow(
        started, lambda: sandbox.faults.has_paused() or sandbox.outcome(started) is not None
    )
    assert sandbox.faults.has_paused(), sandbox.outcome(started)
    return started


def name_of(state_machine: str) -> str:
    return f"snapferry-{state_machine.replace('_', '-')}"


def handler_of_state(state_machine: str, state: str) -> str:
    definition = states(state_machine)[state]
    return (handler_of(definition) if definition["Type"] == "Task" else None) or ""


def is_handed_over(sandbox: Sandbox, started: Started, state: str, way: str) -> bool:
    """Whether it was stopped between the point of no return and the time when people say: moved.

    A state at which it was aborted has been entered without effect.
    """
    passed = ("Hand over indices", "Release source")
    handed_over, released = (
        sandbox.has_entered(started, each) and (state, way) != (each, "abort") for each in passed
    )
    return handed_over and not released


def abort(sandbox: Sandbox, started: Started, _state_machine: str, _state: str) -> None:
    sandbox.abort(started)
    sandbox.faults.go_on()


def fail(sandbox: Sandbox, started: Started, state_machine: str, state: str, way: Way) -> None:
    handler = handler_of_state(state_machine, state)
    sandbox.faults.arm(handler, way)
    sandbox.faults.go_on()
    outcome = sandbox.end(started)
    assert sandbox.faults.has_struck(handler)
    assert (outcome.status, outcome.error) == (
        "FAILED",
        {"raise": "UnexpectedError", "die": "Runtime.ExitError"}[way],
    )


def hang(sandbox: Sandbox, started: Started, state_machine: str, state: str) -> None:
    """The time-out of a function is a reason to try again."""
    hang_once(sandbox, started, state_machine, state)
    outcome = sandbox.end(started)
    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")


def hang_once(
    sandbox: Sandbox,
    started: Started,
    state_machine: str,
    state: str,
    at_gate: Mapping[str, Callable[[], None]] | None = None,
    **details: Any,
) -> None:
    """Has a migration that waits go on, until a call has hung and the next one has succeeded.

    The time-out is short for these alone. Since a change of it ends calls that are under way, the
    migration is paused at the state that follows.
    """
    handler = handler_of_state(state_machine, state)
    # "Freeze source" ends its branch: this is what follows both.
    following = states(state_machine)[state].get("Next", "Begin last round")
    with sandbox.short_time_out(handler):
        sandbox.faults.arm(handler, "hang", **details)
        sandbox.faults.pause_at(name_of(state_machine), following)
        sandbox.follow(
            started,
            lambda: sandbox.faults.has_paused() or sandbox.outcome(started) is not None,
            at_gate,
        )
        assert sandbox.faults.has_paused(), sandbox.outcome(started)
    assert sandbox.faults.has_struck(handler)
    sandbox.faults.go_on()


def linger(sandbox: Sandbox, started: Started, state_machine: str, state: str) -> None:
    handler = handler_of_state(state_machine, state)
    sandbox.faults.arm(handler, "linger")
    sandbox.faults.go_on()
    wait_until(lambda: sandbox.faults.has_struck(handler))
    sandbox.abort(started)
    wait_until(lambda: sandbox.mark(started) != "running")
    # So that a roll-back that doesn't wait has given everything back before.
    time.sleep(1)
    sandbox.faults.go_on()
    wait_until(lambda: sandbox.faults.has_ended(handler))


STOPS: Mapping[str, Callable[[Sandbox, Started, str, str], None]] = {
    "abort": abort,
    "raise": partial(fail, way="raise"),
    "die": partial(fail, way="die"),
    "hang": hang,
    "linger": linger,
}


def again(sandbox: Sandbox, stopped: Started) -> tuple[str, str]:
    """Moves the same index by another migration; says how that ended."""
    sandbox.faults.clear()
    if any(sandbox.has_entered(stopped, each) for each in ("Hand over indices", "Verify restore")):
        # From there on it is the clients'.
        sandbox.destination.indices.delete(index=INDEX, ignore_unavailable=True)
    outcome = sandbox.migrate(sandbox.request(INDEX, **PLAIN))
    return outcome.status, outcome.cause


# What was there before, and what others change meanwhile

_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "Others",
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::222222222222:root"},
            "Action": ["s3:GetObject", "s3:GetBucketLocation"],
            "Resource": ["arn:aws:s3:::snapferry-migration", "arn:aws:s3:::snapferry-migration/*"],
        }
    ],
}
_SETTINGS = {
    "persistent": {"cluster.routing.allocation.node_initial_primaries_recoveries": "2"},
    "transient": {"indices.recovery.max_bytes_per_sec": "30mb"},
}
_MAPPING = {"backend_roles": ["somebody"], "users": ["someone"], "hosts": ["*.example.com"]}


@pytest.fixture
def furnished(faulty: Sandbox) -> Iterator[Sandbox]:
    """A bucket with a policy, and clusters with mappings and settings of their own."""
    bucket = faulty.world.s3.bucket
    clusters = (faulty.source, faulty.destination)
    faulty.bucket.put_bucket_policy(Bucket=bucket, Policy=json.dumps(_POLICY))
    faulty.destination.cluster.put_settings(body=_SETTINGS)
    ownership = faulty.bucket.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
    mappings = [cluster.security.get_role_mappings().get(_ROLE) for cluster in clusters]
    for cluster in clusters:
        cluster.security.create_role_mapping(role=_ROLE, body=_MAPPING)
    yield faulty
    faulty.bucket.delete_bucket_policy(Bucket=bucket)
    faulty.bucket.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=ownership)
    faulty.destination.cluster.put_settings(
        body={scope: dict.fromkeys(settings) for scope, settings in _SETTINGS.items()}
    )
    for cluster, mapping in zip(clusters, mappings, strict=True):
        if mapping is None:
            cluster.security.delete_role_mapping(role=_ROLE)
        else:
            kept = {name: mapping[name] for name in ("backend_roles", "users", "hosts")}
            cluster.security.create_role_mapping(role=_ROLE, body=kept)


_ROLE = "manage_snapshots"


@pytest.mark.parametrize("end", ["abort", "success"])
def test_what_was_there_before_is_there_after(furnished: Sandbox, end: str) -> None:
    before, snapshots = leftovers.look(furnished.world), furnished.snapshots()
    started = pause(furnished, "restore", "Check restore")
    meanwhile = leftovers.difference(before, leftovers.look(furnished.world))
    assert furnished.snapshots() - snapshots

    if end == "abort":
        furnished.abort(started)
    furnished.faults.go_on()
    furnished.end(started)
    furnished.roll_back_of(started)

    assert leftovers.difference(before, leftovers.look(furnished.world)) == []
    if end == "success":
        # They aren't wanted `EVERYWHERE` afterwards.
        assert furnished.snapshots() <= snapshots
    for kind in ("policy", "repository", "role", "mapping", "persistent", "transient", "lease"):
        assert any(kind in change for change in meanwhile), kind


def test_what_others_changed_meanwhile_is_left_and_told(furnished: Sandbox) -> None:
    access = furnished.world.deployment["bucket_access"] | {"way": "acl"}
    started = pause(furnished, "restore", "Check restore", bucket__access=access)
    furnished.destination.cluster.health(wait_for_status="green", index=INDEX)
    with changed_by_others(furnished) as found:
        theirs = {kind: find() for kind, find in found.items()}
        furnished.abort(started)
        furnished.faults.go_on()

        [outcome] = furnished.roll_back_of(started)

        assert {kind: find() for kind, find in found.items()} == theirs
    recorded = furnished.record(started.migration_id, "roll_back")["foreign"]
    for notes in (outcome["foreign"], recorded):
        assert len(notes) == len(theirs)
        for kind in theirs:
            assert any(note.startswith(kind) for note in notes), (kind, notes)
    assert furnished.mark(started) == "ended"


@contextmanager
def changed_by_others(sandbox: Sandbox) -> Iterator[Mapping[str, Callable[[], Any]]]:
    """Somebody else changes one thing of each kind; gives what tells how they are now."""
    bucket, source, destination = sandbox.world.s3.bucket, sandbox.source, sandbox.destination

    def limits() -> Any:
        return destination.cluster.get_settings(flat_settings=True)["transient"]

    def repository() -> Any:
        return {
            name: repository["settings"]["base_path"]
            for name, repository in destination.snapshot.get_repository().items()
        }

    def role() -> Any:
        roles = source.security.get_roles().items()
        return {name: role for name, role in roles if name.startswith("snapferry-")}

    def statement() -> Any:
        policy = json.loads(sandbox.bucket.get_bucket_policy(Bucket=bucket)["Policy"])
        return [one for one in policy["Statement"] if one["Sid"].endswith("Write")]

    def ownership() -> Any:
        answer = sandbox.bucket.get_bucket_ownership_controls(Bucket=bucket)
        return answer["OwnershipControls"]

    destination.cluster.put_settings(
        body={"transient": {"indices.recovery.max_bytes_per_sec": "77mb"}}
    )
    [(repository_name, registered)] = destination.snapshot.get_repository().items()
    destination.snapshot.create_repository(
        repository=repository_name,
        body={"type": "s3", "settings": registered["settings"] | {"base_path": "elsewhere"}},
    )
    [(role_name, definition)] = role().items()
    source.security.create_role(
        role=role_name,
        body={
            "cluster_permissions": [*definition["cluster_permissions"], "cluster:admin/reindex"],
            "index_permissions": definition["index_permissions"],
        },
    )
    policy = json.loads(sandbox.bucket.get_bucket_policy(Bucket=bucket)["Policy"])
    for one in policy["Statement"]:
        if one["Sid"].endswith("Write"):
            one["Action"].remove("s3:ListBucketMultipartUploads")
    sandbox.bucket.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    sandbox.bucket.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    yield {
        "restore limit": limits,
        "repository": repository,
        "role": role,
        "policy statement": statement,
        "object ownership": ownership,
    }
    destination.snapshot.delete_repository(repository=repository_name)
    source.security.delete_role(role=role_name)


# Other ends


def test_a_migration_whose_end_nobody_noticed_is_rolled_back_by_the_sweep(faulty: Sandbox) -> None:
    before = leftovers.look(faulty.world)
    with faulty.lost_events():
        started = pause(faulty, "snapshot", "Check snapshot")
        faulty.abort(started)
        faulty.faults.go_on()
        assert faulty.sweep() == []
        faulty.expire_leases()

        assert faulty.sweep() == [started.migration_id]

    faulty.roll_back_of(started)
    assert leftovers.difference(before, leftovers.look(faulty.world)) == []


def test_one_migration_and_one_roll_back_at_a_time(faulty: Sandbox) -> None:
    before = leftovers.look(faulty.world)
    first = pause(faulty, "snapshot", "Check snapshot")
    wait_until(lambda: not faulty.source.snapshot.status()["snapshots"])
    meanwhile = leftovers.look(faulty.world)

    second = faulty.migrate(faulty.request(INDEX, **PLAIN))

    assert (second.status, second.error) == ("FAILED", "LeaseHeld")
    assert first.migration_id in second.cause
    assert leftovers.difference(meanwhile, leftovers.look(faulty.world)) == []
    assert faulty.mark(first) == "running"

    roll_back = {"name": first.migration_id, "executionArn": first.execution_arn}
    faulty.faults.pause_at("snapferry-roll-back", "Give back changes")
    # The end of the migration would start one more, which may be the one that takes over.
    with faulty.lost_events():
        stopped = faulty.start(roll_back, "roll_back")
        wait_until(faulty.faults.has_paused)
        outcome = faulty.outcome(first)
        assert outcome
        assert (outcome.status, outcome.error) == ("ABORTED", "RolledBack")

        waiting = faulty.start(roll_back, "roll_back")
        wait_until(lambda: faulty.failures_of(waiting) > 0)
        assert faulty.outcome(waiting) is None
        faulty.abort(stopped)
        faulty.faults.go_on()
        outcome = faulty.end(waiting)

    assert outcome.output["given_back"] > 0
    assert leftovers.difference(before, leftovers.look(faulty.world)) == []


def test_an_execution_that_goes_on_after_the_end_changes_nothing(faulty: Sandbox) -> None:
    """As one that somebody redrives."""
    started = pause(faulty, "restore", "Check restore")
    faulty.abort(started)
    faulty.faults.go_on()
    faulty.roll_back_of(started)
    before = leftovers.look(faulty.world)
    snapshots = faulty.snapshots()
    [job] = faulty.record(started.migration_id, "jobs")

    for state_machine, error in {
        # The rights are gone, too.
        "migrate_domain": "AccessDenied",
        "snapshot": "MigrationEnded",
        "restore": "MigrationEnded",
    }.items():
        late = faulty.run(state_machine, {"job": job, "round": 1, "hold_seconds": 5})
        assert (late.status, late.error) == ("FAILED", error)

    assert leftovers.difference(before, leftovers.look(faulty.world)) == []
    assert faulty.snapshots() == snapshots
