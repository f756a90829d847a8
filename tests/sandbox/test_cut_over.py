"""No write that the source has acknowledged is lost, however the cut-over goes."""

import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from opensearchpy import OpenSearch
from opensearchpy.helpers import scan

from snapferry_sandbox.demo import leftovers
from snapferry_sandbox.faults import Way
from tests.sandbox.migrations import FILTERED, Outcome, Sandbox, Started, wait_until
from tests.sandbox.test_roll_back import handler_of_state, hang_once, is_handed_over
from tests.sandbox.writers import Writers, create, differences, takes_writes
from tests.workflow.state_machines import DEFINITIONS

RUNS = 20
# Of those that `make test` takes.
ALWAYS = 2


@dataclass
class Moved:
    """Two indices that are moved: one is caught up, one goes by a last snapshot."""

    sandbox: Sandbox
    caught_up: str
    by_snapshot: str
    stubborn: Writers
    """Write to the one that is caught up."""
    obedient: Writers
    """Write to the other one, until they are asked to stop."""

    @property
    def pattern(self) -> str:
        return self.caught_up.removesuffix("caught-up") + "*"

    @property
    def indices(self) -> list[str]:
        return [self.caught_up, self.by_snapshot]

    def differences(self) -> dict[str, list[str]]:
        return differences(
            self.sandbox.source,
            self.sandbox.destination,
            self.indices,
            self.stubborn,
            self.obedient,
        )

    def takes_writes(self) -> dict[str, bool]:
        return {index: takes_writes(self.sandbox.source, index) for index in self.indices}


@pytest.fixture
def moved(sandbox: Sandbox) -> Iterator[Moved]:
    prefix = f"cut-over-{uuid.uuid4().hex[:8]}-"
    caught_up, by_snapshot = f"{prefix}caught-up", f"{prefix}by-snapshot"
    stubborn = Writers(sandbox.source, create(sandbox.source, caught_up, shards=3))
    obedient = Writers(sandbox.source, create(sandbox.source, by_snapshot, mappings=FILTERED), 1)
    sandbox.faults.clear()
    with ExitStack() as writing:
        writing.enter_context(stubborn.writing())
        writing.enter_context(obedient.writing())
        yield Moved(sandbox, caught_up, by_snapshot, stubborn, obedient)
    sandbox.faults.clear()
    for cluster in (sandbox.source, sandbox.destination):
        cluster.indices.delete(index=f"{prefix}*")


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, marks=() if seed < ALWAYS else pytest.mark.exhaustive)
        for seed in range(RUNS)
    ],
)
def test_every_acknowledged_write_arrives(moved: Moved, seed: int) -> None:
    """Clients write during the snapshots and the rounds, and stop when they are asked to."""
    chance = random.Random(seed)  # noqa: S311
    sandbox = moved.sandbox

    def stop_writes() -> None:
        time.sleep(chance.uniform(0, 3))
        moved.stubborn.stop()
        moved.obedient.stop()

    outcome = sandbox.migrate(
        sandbox.request(
            moved.pattern,
            cutover={
                "rounds": chance.choice((1, 2)),
                "write_stop_seconds": chance.choice((1, 5, 60)),
                "catch_up_rounds": chance.choice((1, 2, 5)),
            },
        ),
        at_gate={"stop_writes": stop_writes},
    )

    assert outcome.cause == ""
    assert outcome.status == "SUCCEEDED"
    assert moved.stubborn.accepted > 500
    assert moved.obedient.accepted > 500
    assert moved.differences() == {}
    [domain] = sandbox.record(outcome.migration_id, "report")["domains"]
    assert domain["catch_up"]["caught_up"] == [moved.caught_up]


def test_what_several_functions_catch_up_at_the_same_time_arrives(sandbox: Sandbox) -> None:
    prefix = f"cut-over-{uuid.uuid4().hex[:8]}-"
    indices = [f"{prefix}{number}" for number in range(3)]
    writers = [
        Writers(sandbox.source, create(sandbox.source, index, shards=2), seed)
        for seed, index in enumerate(indices)
    ]

    def stop_writes() -> None:
        for each in writers:
            each.stop()

    with ExitStack() as writing:
        for each in writers:
            writing.enter_context(each.writing())
        outcome = sandbox.migrate(
            sandbox.request(
                f"{prefix}*",
                verification="quick",
                # As many functions as there are indices.
                cutover={"rounds": 1, "shards_per_function": 1, "gates": ["stop_writes"]},
            ),
            at_gate={"stop_writes": stop_writes},
        )

    assert outcome.cause == ""
    assert outcome.status == "SUCCEEDED"
    assert min(each.accepted for each in writers) > 100
    assert differences(sandbox.source, sandbox.destination, indices, *writers) == {}
    [domain] = sandbox.record(outcome.migration_id, "report")["domains"]
    assert domain["catch_up"]["caught_up"] == indices
    phases = Counter(each["phase"] for each in domain["catch_up"]["rounds"])
    assert phases["last"] == 3
    assert phases["lag fits"] >= 3
    assert [step["step"] for step in domain["catch_up"]["write_stop_steps"]] == [
        *("freeze_source", "catch_up_slices", "catch_up_last", "hand_over_indices", "move_aliases")
    ]
    for cluster in (sandbox.source, sandbox.destination):
        cluster.indices.delete(index=f"{prefix}*")


# Writers that don't stop


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(5))
def test_writers_that_go_on_are_refused(moved: Moved, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311

    def stop_some() -> None:
        moved.obedient.stop()
        time.sleep(chance.uniform(0, 3))

    refused: list[int] = []

    def stop_all() -> None:
        moved.stubborn.stop()
        refused.append(moved.stubborn.refused)

    outcome = moved.sandbox.migrate(
        moved.sandbox.request(moved.pattern),
        at_gate={"stop_writes": stop_some, "clients_moved": stop_all},
    )

    assert outcome.cause == ""
    assert refused > [100]
    assert moved.differences() == {}
    assert all(moved.takes_writes().values())


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(3))
def test_writers_that_go_on_with_what_goes_by_snapshot_are_caught(moved: Moved, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311

    outcome = moved.sandbox.migrate(
        moved.sandbox.request(moved.pattern),
        at_gate={"stop_writes": lambda: time.sleep(chance.uniform(0, 3))},
    )

    assert (outcome.status, outcome.error) == ("FAILED", "VerificationFailed")
    assert moved.by_snapshot in outcome.cause
    assert all(moved.takes_writes().values())
    # People were told each time who goes on.
    given_up = write_stops_given_up(moved, outcome)
    assert len(given_up) == 3
    assert all(moved.by_snapshot in reason for reason in given_up)


def write_stops_given_up(moved: Moved, outcome: Outcome) -> list[str]:
    [domain] = moved.sandbox.record(outcome.migration_id, "report")["domains"]
    return list(domain["catch_up"]["write_stops_given_up"])


def lift_the_block(moved: Moved) -> None:
    """Somebody takes the block off, and what is there is changed."""
    index = moved.caught_up
    moved.sandbox.source.indices.put_settings(index=index, body={"index.blocks.write": None})
    change(moved.sandbox, index)


def write_to_what_is_not_blocked(moved: Moved) -> None:
    change(moved.sandbox, moved.by_snapshot)


def make_a_new_index(moved: Moved) -> None:
    create(moved.sandbox.source, f"{moved.caught_up}-new")


def make_an_index_anew(moved: Moved) -> None:
    moved.sandbox.source.indices.delete(index=moved.by_snapshot)
    documents = create(moved.sandbox.source, moved.by_snapshot, mappings=FILTERED)
    # What was accepted before is no more.
    moved.obedient = Writers(moved.sandbox.source, documents)


def change(sandbox: Sandbox, index: str) -> None:
    """Changes documents so that their number stays the same."""
    answer = sandbox.source.update_by_query(
        index=index,
        body={"query": {"match_all": {}}, "script": {"source": "ctx._source.late = true"}},
        params={"max_docs": 3, "refresh": "true"},
    )
    assert answer["updated"] == 3


# As long as it comes before this state, it is taken along. Afterwards it needs another round.
TAKEN_ALONG_BEFORE: Mapping[Callable[[Moved], None], str] = {
    lift_the_block: "Is anything left for a snapshot?",
    write_to_what_is_not_blocked: "Restore snapshot",
    make_a_new_index: "Begin last round",
    make_an_index_anew: "Begin last round",
}
# In their order.
PASSED = (
    "Look for new indices",
    "Begin last round",
    "Catch up last",
    "Is anything left for a snapshot?",
    "Take snapshot",
    "Restore snapshot",
    "Verify copy",
    "Hand over indices",
)
MEDDLING = [
    *((lift_the_block, state) for state in PASSED[1:]),
    # "Verify copy" blocks it.
    *((write_to_what_is_not_blocked, state) for state in PASSED[-4:-1]),
    *((make_a_new_index, state) for state in (*PASSED[:3], *PASSED[-2:])),
    *((make_an_index_anew, state) for state in ("Catch up last", "Verify copy")),
]


@pytest.mark.parametrize(
    ("meddle", "state"),
    [
        pytest.param(
            meddle,
            state,
            marks=()
            if (meddle, state) == (lift_the_block, "Hand over indices")
            else pytest.mark.exhaustive,
            id=f"{meddle.__name__}-{state}",
        )
        for meddle, state in MEDDLING
    ],
)
def test_writes_by_other_ways_are_caught(
    moved: Moved, meddle: Callable[[Moved], None], state: str
) -> None:
    sandbox = moved.sandbox
    started = pause(moved, state, until_gate=(moved.stubborn, moved.obedient))
    meddle(moved)
    sandbox.faults.go_on()

    def stop() -> None:
        moved.stubborn.stop()
        moved.obedient.stop()

    outcome = end(sandbox, started, at_gate={"stop_writes": stop})

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    # What was changed isn't what the writers know.
    present = sorted(sandbox.source.indices.get(index=moved.pattern))
    assert sorted(sandbox.destination.indices.get(index=moved.pattern)) == present
    assert differences(sandbox.source, sandbox.destination, present) == {}
    assert all(moved.takes_writes().values())
    given_up = write_stops_given_up(moved, outcome)
    if PASSED.index(state) < PASSED.index(TAKEN_ALONG_BEFORE[meddle]):
        assert given_up == []
    else:
        [reason] = given_up
        assert moved.pattern.removesuffix("*") in reason


# Failures


# From here on a migration passes each state once.
AFTER_BULK = "Begin catch up"
# By the bucket's ACL, in earlier rounds, outside of the time of day, with more shards.
NOT_PASSED = (
    "Let source write",
    "Let destination read",
    "Begin next round",
    "Is catching up wanted?",
    "Wait for the window",
    "Catch up each slice",
    "Attach policies",
    # They come before, where another round follows.
    "Weigh another round",
    "Copy artifacts",
    # Other modes come there.
    "Verify restore",
    "Verify rehearsal",
    "Are old snapshots to be deleted?",
)


def cut_over_states() -> Iterator[str]:
    """From "Stop writes" to "Release source", as a migration by the bucket's policy passes them."""
    domain = DEFINITIONS["migrate_domain"]["States"]
    seen = set()
    remaining = [(domain, "Stop writes")]
    while remaining:
        scope, state = remaining.pop()
        if state in seen or state in NOT_PASSED:
            continue
        seen.add(state)
        yield state
        definition = scope[state]
        remaining += [
            (branch["States"], branch["StartAt"]) for branch in definition.get("Branches", [])
        ]
        if state == "Release source":
            continue
        following = [definition.get("Next"), definition.get("Default")]
        following += [choice["Next"] for choice in definition.get("Choices", [])]
        remaining += [(scope, each) for each in following if each]


FAILURES = [
    (state, way)
    for state in cut_over_states()
    for way in ("abort", "die")
    if way == "abort" or handler_of_state("migrate_domain", state)
]
ALWAYS_FAILING = [("Verify copy", "die"), ("Move aliases", "die")]


@pytest.mark.parametrize(
    ("state", "way"),
    [
        pytest.param(
            *case, marks=() if case in ALWAYS_FAILING else pytest.mark.exhaustive, id="-".join(case)
        )
        for case in FAILURES
    ],
)
def test_after_a_failure_one_side_takes_writes(moved: Moved, state: str, way: str) -> None:
    """Until the indices are handed over the source does, from then on never by itself."""
    sandbox = moved.sandbox
    before = leftovers.look(sandbox.world)
    started = pause(moved, state, until_gate=(moved.obedient,))
    if way == "abort":
        sandbox.abort(started)
    else:
        sandbox.faults.arm(handler_of_state("migrate_domain", state), "die")
    sandbox.faults.go_on()

    outcome = end(sandbox, started)

    assert outcome.status == ("ABORTED" if way == "abort" else "FAILED")
    writes = moved.takes_writes()
    kept = sandbox.record(started.migration_id, "roll_back")["kept"]
    left = leftovers.difference(before, leftovers.look(sandbox.world))
    if is_handed_over(sandbox, started, state, way):
        assert not any(writes.values())
        assert len(kept) == len(moved.indices)
        assert left == [
            f'source-1: index.blocks.write of {index}: absent before, "true" now'
            for index in sorted(moved.indices)
        ]
        moved.stubborn.stop()
        assert moved.differences() == {}
    else:
        assert all(writes.values())
        assert (kept, left) == ([], [])
        accepted = moved.stubborn.accepted
        wait_until(lambda: moved.stubborn.accepted > accepted)


CALLED_AT = {
    "catch_up": ("catch_up", "Catch up"),
    "cut_over": ("migrate_domain", "Catch up last"),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("handler", "state", "after_bulks"),
    [
        ("catch_up", "Catch up until the lag fits", 1),
        ("catch_up", "Catch up until the lag fits", 4),
        ("catch_up", "Catch up until writes stop", 1),
        ("cut_over", "Catch up last", 1),
        ("cut_over", "Catch up last", 3),
    ],
)
@pytest.mark.parametrize("way", ["die", "hang"])
def test_catching_up_that_ends_midway_loses_nothing(
    moved: Moved, handler: str, state: str, after_bulks: int, way: Way
) -> None:
    sandbox = moved.sandbox
    at_gate = {"stop_writes": moved.obedient.stop, "clients_moved": moved.stubborn.stop}
    started = pause(moved, state, until_gate=(moved.obedient,))
    if way == "hang":
        hang_once(sandbox, started, *CALLED_AT[handler], at_gate, after_bulks=after_bulks)
    else:
        sandbox.faults.arm(handler, way, after_bulks=after_bulks)
        sandbox.faults.go_on()
    outcome = end(sandbox, started, at_gate)

    assert sandbox.faults.has_struck(handler)
    # Beside the gate a failure is none yet, and a time-out is a reason to try again.
    if way == "die" and state != "Catch up until writes stop":
        assert (outcome.status, outcome.error) == ("FAILED", "Runtime.ExitError")
        assert all(moved.takes_writes().values())
        outcome = sandbox.migrate(sandbox.request(moved.pattern), at_gate)
    assert outcome.cause == ""
    assert outcome.status == "SUCCEEDED"
    assert moved.differences() == {}


# Roles that don't see everything


@contextmanager
def short_sighted(sandbox: Sandbox, index: str) -> Iterator[None]:
    """The role that the migration uses at the source is shown no document with an odd number."""
    security = sandbox.source.security
    # Nested documents have no number: they are shown with the document that they belong to.
    query = {
        "script": {"script": "doc['geonameid'].size() == 1 && doc['geonameid'].value % 2 == 0"}
    }
    security.create_role(
        role="short-sighted",
        body={
            "index_permissions": [
                {"index_patterns": [index], "allowed_actions": ["read"], "dls": json.dumps(query)}
            ]
        },
    )
    security.create_role_mapping(
        role="short-sighted",
        body={"backend_roles": [sandbox.world.deployment["domain_access_role"]]},
    )
    try:
        yield
    finally:
        security.delete_role_mapping(role="short-sighted")
        security.delete_role(role="short-sighted")


@pytest.mark.exhaustive
@pytest.mark.parametrize("since", ["Begin migration", "Begin catch up", "Stop writes"])
def test_a_role_that_is_not_shown_everything_is_refused(moved: Moved, since: str) -> None:
    """Before it is found out, as well as when it becomes so meanwhile; nothing is deleted."""
    sandbox = moved.sandbox
    with ExitStack() as hiding:
        if since == "Begin migration":
            hiding.enter_context(short_sighted(sandbox, moved.caught_up))
        started = pause(moved, since if since == "Stop writes" else AFTER_BULK, until_gate=())
        if since != "Begin migration":
            hiding.enter_context(short_sighted(sandbox, moved.caught_up))
        moved.stubborn.stop()
        moved.obedient.stop()
        copied = ids(sandbox.destination, moved.caught_up) & ids(sandbox.source, moved.caught_up)
        sandbox.faults.go_on()
        outcome = end(sandbox, started)

    assert (outcome.status, outcome.error) == ("FAILED", "VerificationFailed")
    assert moved.caught_up in outcome.cause
    assert all(moved.takes_writes().values())
    assert copied <= ids(sandbox.destination, moved.caught_up)
    if since != "Stop writes":
        [domain] = sandbox.record(started.migration_id, "report")["domains"]
        reason = domain["catch_up"]["by_snapshot"][moved.caught_up]
        assert "document-level security" in reason


def ids(cluster: OpenSearch, index: str) -> set[str]:
    cluster.indices.refresh(index=index)
    return {hit["_id"] for hit in scan(cluster, index=index, _source=False)}


def pause(moved: Moved, state: str, *, until_gate: tuple[Writers, ...]) -> Started:
    """Has a migration wait at a state of its cut-over; some writers stop when they are asked to."""
    sandbox = moved.sandbox
    sandbox.faults.pause_at("snapferry-migrate-domain", AFTER_BULK)
    started = sandbox.start(sandbox.request(moved.pattern, snapshots_afterwards="delete"))

    def stop() -> None:
        for writers in until_gate:
            writers.stop()

    for each in (AFTER_BULK, state):
        if each != AFTER_BULK:
            sandbox.faults.pause_at("snapferry-migrate-domain", each)
        sandbox.follow(
            started,
            lambda: sandbox.faults.has_paused() or sandbox.outcome(started) is not None,
            at_gate={"stop_writes": stop},
        )
        assert sandbox.faults.has_paused(), sandbox.outcome(started)
    return started


def end(
    sandbox: Sandbox, started: Started, at_gate: Mapping[str, Callable[[], None]] | None = None
) -> Outcome:
    """Waits for the end of a migration, and of its roll-back."""
    outcome = sandbox.end(started, at_gate)
    sandbox.roll_back_of(started)
    wait_until(lambda: sandbox.mark(started) == "ended")
    return outcome
