"""The cut-over between two fake clusters whose shards have operations."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from snapferry import (
    catchup,
    cutover,
    indices,
    listing,
    roll_back,
    rounds,
    table,
)
from snapferry.catchup import IndexRound, Round
from snapferry.cutover import slices
from snapferry.cutover.stop_mark import StopMark
from snapferry.errors import (
    OutsideWindow,
    SnapshotInProgress,
    SourceChanged,
    Unavailable,
    VerificationFailed,
)
from snapferry.fence import Fence
from snapferry.journal import Place, side_of
from snapferry.ownership import Ownership
from snapferry.prediction import Tally
from snapferry.request import DomainJob
from snapferry.ways import Ways
from tests.unit.conftest import MakeJob, Storage
from tests.unit.fake_shards import FakeTailCluster, FakeTailIndex, content, shards
from tests.unit.fakes import Fault
from tests.unit.told_metrics import told

DOMAIN = "logs"
BLOCK = "index.blocks.write"
DENIED = (403, {"error": {"type": "security_exception", "reason": "no permissions for"}})


class World:
    """Indices `a` and `b` on both sides, restored by the only bulk round."""

    def __init__(self, storage: Storage, job: DomainJob) -> None:
        self.storage = storage
        self.job = job
        self.source = FakeTailCluster(
            {name: FakeTailIndex(shards(1, documents=20), uuid=f"uuid-{name}") for name in "ab"}
        )
        self.destination = FakeTailCluster({})
        self.clients = self.source.client("source"), self.destination.client("destination")
        self.effects = 0

    def bulk(self, round_number: int = 1) -> None:
        self.list(round_number)
        self.snapshot(round_number)
        Ownership(self.storage.records, self.job).confirm(indices.list_all(self.clients[1]))

    def list(self, round_number: int) -> None:
        selected = [*indices.list_all(self.clients[0]).values()]
        listing.keep(self.storage.records, DOMAIN, round_number, selected)

    def take(self, step: cutover.Step, round_number: int = 1) -> dict[str, Any]:
        storage = self.storage
        return cutover.CutOver(
            storage.journal, *self.clients, storage.records, self.job, round_number
        ).take(step, datetime.now(UTC).isoformat())

    def begin(self) -> dict[str, Any]:
        return self.take("begin_catch_up")

    def catch_up(self, until: cutover.Until = "lag fits", number: int = 0) -> dict[str, Any]:
        return cutover.catch_up(
            self.storage.journal,
            *self.clients,
            self.storage.records,
            self.job,
            until,
            number,
            datetime.now(UTC).isoformat(),
            self.effect,
            self.sleep,
        )

    @contextmanager
    def effect(self) -> Iterator[None]:
        self.effects += 1
        yield

    def sleep(self, seconds: float) -> None:
        self.source.pass_time(seconds)
        if self.source.now_seconds > 25.5:
            self.freeze()

    def freeze(self) -> dict[str, Any]:
        return self.take("freeze_source")

    def finish(self) -> dict[str, int]:
        answer = self.take("catch_up_last", 2)
        return {name: answer[name] for name in ("caught_up", "by_snapshot")}

    def snapshot(self, round_number: int = 2) -> None:
        """Copies by a snapshot what isn't caught up."""
        left = listing.for_snapshot(self.storage.records, DOMAIN, round_number)
        names = [index.name for index in left]
        cutover.keep_base(self.clients[0], self.storage.records, self.job, round_number, names)
        for name in names:
            self.destination.tails[name] = self.source.tails[name].restored(f"restored-{name}")

    def hand_over(self) -> None:
        self.take("hand_over_indices", 2)

    @property
    def outcome(self) -> dict[str, Any]:
        return cutover.outcome(self.storage.records, DOMAIN)

    def blocks(self) -> dict[str, Any]:
        return {name: index.settings.get(BLOCK) for name, index in self.source.tails.items()}


@pytest.fixture
def world(storage: Storage, job: DomainJob) -> World:
    return World(storage, job)


@pytest.fixture
def restored(world: World) -> World:
    world.bulk()
    return world


def test_an_index_that_went_while_it_was_restored_is_passed_by(restored: World) -> None:
    """By a policy of the source, as a rule. The copy goes with the next list."""
    del restored.source.tails["b"]
    assert restored.begin() == {"caught_up": 1, "by_snapshot": 0, "slices": 1}


def test_what_is_written_until_the_freeze_arrives(restored: World) -> None:
    assert restored.begin() == {"caught_up": 2, "by_snapshot": 0, "slices": 1}
    first = restored.source.tails["a"].shards[0]
    first.index("0-new")
    first.delete("0-3")
    assert restored.catch_up()["ended"]
    first.index("0-newer")
    assert restored.freeze()["frozen"] == 2
    assert restored.blocks() == {"a": "true", "b": "true"}
    assert restored.finish() == {"caught_up": 2, "by_snapshot": 0}

    for name in "ab":
        assert content(restored.source, name) == content(restored.destination, name)
    assert listing.for_snapshot(restored.storage.records, DOMAIN, 2) == []
    found = restored.outcome
    assert (found["caught_up"], found["by_snapshot"]) == (["a", "b"], {})
    assert [each["phase"] for each in found["rounds"]] == ["lag fits", "last"]
    assert [each["documents"] for each in found["rounds"]] == [1, 1]
    assert [each["deletes"] for each in found["rounds"]] == [1, 0]
    # What catching up had set is given back.
    assert restored.destination.tails["a"].settings.get("index.refresh_interval") is None


def test_what_was_written_is_made_searchable_beside_the_freeze(restored: World) -> None:
    """The more was written and the more segments there are, the longer it takes."""
    restored.source.tails["b"].mapping = {"_source": {"enabled": False}}
    restored.begin()
    refreshes_before = len(restored.source.sent("POST /.*/_refresh"))
    restored.freeze()
    [refresh] = restored.source.sent("POST /.*/_refresh")[refreshes_before:]
    assert refresh.path == "/a/_refresh"


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_freeze_does_not_depend_on_a_refresh(restored: World, status: int) -> None:
    restored.begin()
    restored.source.faults.append(Fault("POST /a,b/_refresh", (status, {"error": "none now"})))
    assert restored.freeze()["frozen"] == 2
    assert restored.finish() == {"caught_up": 2, "by_snapshot": 0}


def test_a_copy_that_is_tuned_still_is_no_copy(
    restored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup, "give_back", lambda *_: None)
    restored.begin()
    restored.freeze()
    with pytest.raises(VerificationFailed, match=r"index\.refresh_interval is one too many"):
        restored.finish()


def measured(world: World) -> Tally:
    tally = Tally.of(world.storage.records, DOMAIN)
    assert tally is not None
    return tally


def test_cloudwatch_and_people_see_how_far_catching_up_is(
    restored: World, capsys: pytest.CaptureFixture[str]
) -> None:
    restored.begin()
    restored.source.tails["a"].shards[0].index("0-new")
    restored.source.tails["b"].shards[0].delete("0-1")
    capsys.readouterr()

    restored.catch_up()

    assert [line["DocumentsCaughtUp"] for line in told(capsys)] == [2]
    look = restored.storage.items["m-1", "progress#logs"]
    assert (look["phase"], look["ended"]) == ("catching up: lag fits", True)
    assert (look["documents"], look["deletes"], look["lag"]) == (1, 1, 0)
    predicted = measured(restored).prediction()
    assert float(look["predicted_write_stop_seconds"]) == predicted.seconds


def test_what_cannot_be_caught_up_goes_by_a_snapshot_and_is_not_frozen(restored: World) -> None:
    restored.source.tails["b"].mapping = {"_source": {"enabled": False}}
    assert restored.begin() == {"caught_up": 1, "by_snapshot": 1, "slices": 1}
    restored.catch_up()
    assert restored.freeze()["frozen"] == 1
    assert restored.blocks() == {"a": "true", "b": None}
    assert restored.finish() == {"caught_up": 1, "by_snapshot": 1}
    left = listing.for_snapshot(restored.storage.records, DOMAIN, 2)
    assert [index.name for index in left] == ["b"]
    assert "_source is disabled" in restored.outcome["by_snapshot"]["b"]


def make_new(world: World) -> None:
    """Clients make an index, and another one anew."""
    world.source.tails["a"] = FakeTailIndex(shards(1, documents=5), uuid="made-anew")
    world.source.tails["c"] = FakeTailIndex(shards(1, documents=5), uuid="new")


def test_new_indices_are_copied_by_another_round_before_people_are_asked(restored: World) -> None:
    restored.begin()
    restored.catch_up()
    assert restored.take("look_for_new_indices") == {"new": 0}
    make_new(restored)
    assert restored.take("look_for_new_indices") == {"new": 2}
    # However often they are made, people are asked at last.
    assert restored.take("look_for_new_indices", restored.job.cutover.rounds + 3) == {"new": 0}

    restored.take("return_source_to_service")
    move_after_another_round(restored, 2)

    assert restored.outcome["write_stops_given_up"] == []


def test_an_index_that_clients_make_after_the_hand_over_is_told_once(restored: World) -> None:
    restored.begin()
    restored.catch_up()
    restored.freeze()
    restored.finish()
    restored.hand_over()
    assert restored.take("look_for_late_indices", 2) == {"late": 0}
    assert restored.outcome["late_indices"] == []

    make_new(restored)
    restored.source.tails["rolled-over"] = FakeTailIndex(shards(1, documents=0), uuid="empty")
    assert restored.take("look_for_late_indices", 2) == {"late": 2}
    # The next answer counts, and the report names them.
    assert restored.take("look_for_late_indices", 2) == {"late": 0}
    assert restored.outcome["late_indices"] == ["a", "c"]


@pytest.mark.parametrize("by_snapshot", [False, True])
def test_what_clients_write_after_the_hand_over_is_told_once(
    restored: World, by_snapshot: bool
) -> None:
    if by_snapshot:
        restored.source.tails["b"].mapping = {"_source": {"enabled": False}}
    restored.begin()
    restored.freeze()
    restored.finish()
    if by_snapshot:
        restored.snapshot()
        restored.take("verify_copy", 2)
    restored.hand_over()
    assert restored.take("look_for_late_indices", 2) == {"late": 0}

    # Somebody has taken the block off.
    restored.source.tails["b"].shards[0].index("0-1")
    del restored.source.tails["a"]

    assert restored.take("look_for_late_indices", 2) == {"late": 1}
    assert restored.take("look_for_late_indices", 2) == {"late": 0}
    assert restored.outcome["late_indices"] == ["b"]


def test_an_index_that_is_new_when_writes_have_stopped_gives_the_write_stop_up(
    restored: World,
) -> None:
    restored.begin()
    restored.catch_up()
    restored.source.tails["b"].settings[BLOCK] = "false"
    restored.freeze()
    make_new(restored)
    restored.source.tails["b"].shards[0].index("0-newer")

    with pytest.raises(SourceChanged, match="a, c: made"):
        restored.finish()

    restored.take("return_source_to_service", 2)
    assert restored.blocks() == {"a": None, "b": "false", "c": None}
    assert not cutover.StopMark(restored.storage.records, DOMAIN).look()
    assert restored.outcome["write_stop_steps"] == []
    [reason] = restored.outcome["write_stops_given_up"]
    assert reason.startswith("a, c: made")
    move_after_another_round(restored, 3)


def move_after_another_round(world: World, round_number: int) -> None:
    """Another round copies what is new alone, and everything is caught up in the end."""
    world.bulk(round_number)
    records = world.storage.records
    copied = [index.name for index in listing.for_snapshot(records, DOMAIN, round_number)]
    assert copied == ["a", "c"]
    assert world.take("begin_catch_up", round_number) == {
        "caught_up": 3,
        "by_snapshot": 0,
        "slices": 1,
    }
    for name in "abc":
        world.source.tails[name].shards[0].index("0-newest")
    assert world.catch_up()["ended"]
    world.freeze()
    last = round_number + 1
    assert world.take("catch_up_last", last)["caught_up"] == 3
    world.take("hand_over_indices", last)
    for name in "abc":
        assert content(world.source, name) == content(world.destination, name)
        # Of before it was tuned, however often it was.
        settings = world.destination.tails[name].settings
        assert settings.get("index.refresh_interval") is None
    assert world.blocks() == dict.fromkeys("abc", "true")
    assert len(give_back(world)["kept"]) == 3


def test_what_is_gone_at_the_source_goes_at_the_destination(restored: World) -> None:
    restored.begin()
    del restored.source.tails["b"]
    restored.destination.tails["theirs"] = FakeTailIndex(shards(1, documents=1), uuid="theirs")
    restored.freeze()
    assert restored.finish() == {"caught_up": 1, "by_snapshot": 0}
    assert restored.destination.tails.keys() == {"a", "theirs"}


def test_an_index_that_becomes_unfit_leaves_the_others_alone(restored: World) -> None:
    restored.begin()
    restored.source.tails["a"].shards[0].history = "another"
    restored.source.tails["b"].shards[0].index("0-new")
    assert restored.catch_up()["ended"]
    assert restored.outcome["caught_up"] == ["b"]
    assert content(restored.source, "b") == content(restored.destination, "b")


def copied(world: World, *seconds: float) -> None:
    """Rounds that took so long, and copied as many megabytes."""
    for number, each in enumerate(seconds, 1):
        took = {"seconds": each / 2, "bytes_new": int(each * 500_000)}
        rounds.note(world.storage.records, DOMAIN, number, snapshot=took, restore=took)


@pytest.mark.parametrize(
    ("written", "seconds", "pays"),
    [
        # As many are caught up sooner than a round is through.
        (10, [3_600], False),
        # All was written anew: a second and a half of catching up, or an hour of copying.
        (7_500, [3_600], False),
        (60_000, [0.5], True),
        # What little was written had everything copied again.
        (60_000, [3_600, 3_500], False),
        (60_000, [3_600, 1], True),
    ],
)
def test_another_round_is_taken_while_it_is_quicker_than_catching_up(
    restored: World, written: int, seconds: list[float], pays: bool
) -> None:
    copied(restored, *seconds)
    for number in range(written):
        restored.source.tails["a"].shards[0].index(f"0-new-{number % 10}")

    assert restored.take("weigh_another_round") == {"pays": pays}


@pytest.mark.parametrize(("seconds", "pays"), [([9], True), ([9, 4], True), ([9, 8], False)])
def test_where_nothing_is_caught_up_another_round_is_taken_while_it_copies_much_less(
    storage: Storage, make_job: MakeJob, seconds: list[float], pays: bool
) -> None:
    world = World(storage, make_job(cutover={"catch_up": False}))
    world.bulk()
    copied(world, *seconds)

    assert world.take("weigh_another_round") == {"pays": pays}


def test_without_any_index_there_is_nothing_to_catch_up(restored: World) -> None:
    for index in restored.source.tails.values():
        index.mapping = {"_source": {"enabled": False}}
    assert restored.begin() == {"caught_up": 0, "by_snapshot": 2, "slices": 1}
    assert restored.catch_up()["ended"]
    assert restored.effects == 0


@pytest.mark.parametrize("refusal", ["too old", "denied", "not wanted"])
def test_without_a_base_everything_goes_by_a_snapshot(
    storage: Storage, make_job: MakeJob, refusal: str
) -> None:
    world = World(storage, make_job(cutover={"catch_up": refusal != "not wanted"}))
    if refusal == "too old":
        world.source.version = {"number": "6.6.0"}
    if refusal == "denied":
        world.source.faults = [Fault("GET /_cluster/state/.*", DENIED)]
    world.bulk()
    assert world.begin() == {"caught_up": 0, "by_snapshot": 2, "slices": 1}


def test_a_write_during_the_last_snapshot_of_an_old_engine_is_found(restored: World) -> None:
    restored.source.version = {"number": "6.0.1"}
    restored.begin()
    restored.freeze()
    assert restored.finish() == {"caught_up": 0, "by_snapshot": 2}
    restored.snapshot()
    restored.source.tails["b"].shards[0].index("0-1")

    with pytest.raises(SourceChanged, match="b: made, deleted or written to"):
        restored.take("verify_copy", 2)


def test_beside_the_gate_catching_up_goes_on_until_the_freeze(restored: World) -> None:
    restored.begin()
    shard = restored.source.tails["a"].shards[0]
    restored.source.before = [
        ("POST /a/_refresh", lambda: shard.index("0-new")),
        ("PUT /a,b/_block/write", lambda: shard.index("0-newer")),
    ]
    shard.index("0-first")

    assert restored.catch_up("writes stop")["ended"]

    assert restored.blocks() == {"a": "true", "b": "true"}
    [beside] = restored.outcome["rounds"]
    # How many there are depends on the machine.
    assert beside["rounds"] == restored.effects > 1
    assert beside["documents"] == 2
    restored.finish()
    assert content(restored.source, "a") == content(restored.destination, "a")


@pytest.mark.parametrize(
    ("lag", "rounds"),
    [
        # In the 25 seconds until the answer one after each second, or after every four.
        (5_000, 26),
        (1, 7),
    ],
)
def test_the_less_clients_write_the_fewer_rounds_there_are_beside_the_gate(
    restored: World, monkeypatch: pytest.MonkeyPatch, lag: int, rounds: int
) -> None:
    done = Round(1.0, [IndexRound(name, documents=lag, lag=lag, sealed=True) for name in "ab"])
    monkeypatch.setattr("snapferry.catchup.run_round", lambda *_, **__: done)
    restored.begin()
    assert restored.catch_up("writes stop")["ended"]
    assert restored.outcome["rounds"][-1]["rounds"] == rounds


def test_the_round_beside_the_gate_ends_with_the_gate(
    restored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pages take no time here.
    for module in ("stop_mark", "slices"):
        monkeypatch.setattr(f"snapferry.cutover.{module}.LOOK_EVERY_SECONDS", 1e-6)
    restored.begin()
    shard = restored.source.tails["a"].shards[0]
    for number in range(200):
        shard.index(f"0-new-{number}")
    stop_mark = cutover.StopMark(restored.storage.records, DOMAIN)
    restored.destination.before = [("POST /a/_bulk", stop_mark.set)]

    assert restored.catch_up("writes stop")["ended"]

    [beside] = restored.outcome["rounds"]
    assert beside["rounds"] == 1
    assert beside["lag"] > 0
    # A call that comes late, such as a repeated one, doesn't begin any more.
    effects = restored.effects
    assert restored.catch_up("writes stop")["ended"]
    assert restored.effects == effects
    restored.freeze()
    restored.finish()
    assert content(restored.source, "a") == content(restored.destination, "a")


@pytest.fixture
def outside_of_window(storage: Storage, make_job: MakeJob) -> World:
    """Caught up, with two hours to go until writes may stop."""
    now = datetime.now(UTC)
    hours = [f"{(now + timedelta(hours=hours)):%H:%M}" for hours in (2, 3)]
    job = make_job(cutover={"window": dict(zip(("begins_at", "ends_at"), hours, strict=True))})
    world = World(storage, job)
    world.bulk()
    world.begin()
    return world


def test_writes_do_not_stop_outside_of_the_window(outside_of_window: World) -> None:
    assert 3_600 < outside_of_window.take("check_window")["wait_seconds"] <= 7_200
    with pytest.raises(OutsideWindow):
        outside_of_window.freeze()

    assert outside_of_window.blocks() == {"a": None, "b": None}
    # The round beside the gate goes on.
    assert not cutover.StopMark(outside_of_window.storage.records, DOMAIN).look()


def test_a_destination_that_is_busy_is_no_obstacle_to_a_freeze(restored: World) -> None:
    restored.begin()
    restored.destination.faults = [Fault("GET /", (503, {}))] * 99

    restored.freeze()

    assert restored.destination.sent("GET /")
    assert restored.blocks() == {"a": "true", "b": "true"}


def test_a_repeated_freeze_goes_on_after_the_window(outside_of_window: World) -> None:
    # As an earlier call has left it, which has failed.
    cutover.StopMark(outside_of_window.storage.records, DOMAIN).set()

    outside_of_window.freeze()

    assert outside_of_window.blocks() == {"a": "true", "b": "true"}


def test_who_asks_for_the_stop_while_another_looks_is_not_told_what_was(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_mark = cutover.StopMark(storage.records, DOMAIN)
    stop_mark.set()
    told: list[bool] = []
    get = table.get

    def get_with_another(*arguments: Any) -> Any:
        monkeypatch.setattr(table, "get", get)
        told.append(stop_mark.is_set())
        return get(*arguments)

    monkeypatch.setattr(table, "get", get_with_another)
    assert stop_mark.is_set()
    assert told == [True]


def test_people_are_asked_once_the_replicas_are_there(restored: World) -> None:
    restored.begin()
    restored.destination.building = 2
    assert restored.take("check_window") == {"wait_seconds": 300}
    restored.destination.building = 0
    assert restored.take("check_window") == {"wait_seconds": 0}


def test_a_freeze_that_is_tried_again_began_at_the_first_try(restored: World) -> None:
    restored.begin()
    restored.source.faults = [Fault("PUT /a,b/_block/write", (503, {"error": {"type": "x"}}))]
    with pytest.raises(Unavailable):
        restored.freeze()
    tried_at = time.time()

    assert restored.freeze()["stopped_at"] <= tried_at


def test_one_that_refuses_its_block_leaves_no_other_taking_writes(restored: World) -> None:
    """As an index does whose block `read_only` was set after the plan was made."""
    refused = (403, {"error": {"type": "cluster_block_exception", "reason": "read-only"}})
    for name in "ab":
        restored.source.tails[name].mapping = {"_source": {"enabled": False}}
    restored.begin()
    restored.freeze()
    restored.finish()
    restored.snapshot()
    restored.source.faults = [
        Fault("PUT /a,b/_block/write", refused),
        Fault("PUT /a/_block/write", refused),
    ]

    restored.hand_over()

    assert restored.blocks() == {"a": None, "b": "true"}


@pytest.mark.parametrize("needed", [True, False])
def test_writes_do_not_stop_while_a_last_snapshot_would_have_to_wait(
    restored: World, needed: bool
) -> None:
    if needed:
        restored.source.tails["b"].mapping = {"_source": {"enabled": False}}
    restored.begin()
    # Its restore would have to wait for one at the destination.
    for cluster in (restored.destination, restored.source):
        restored.destination.snapshots_of_others = []
        cluster.snapshots_of_others = [{"state": "STARTED"}]
        assert restored.take("check_window") == {"wait_seconds": 300 if needed else 0}
        if needed:
            with pytest.raises(SnapshotInProgress):
                restored.freeze()
            assert restored.blocks() == {"a": None, "b": None}
    restored.source.snapshots_of_others = []
    assert restored.freeze()["frozen"] == (1 if needed else 2)


def test_a_last_snapshot_of_everything_lets_the_hourly_one_go_first(
    world: World, make_job: MakeJob
) -> None:
    world.job = make_job(cutover={"catch_up": False})
    took = {"seconds": 300.0, "ended_at": 1_800_000_000, "bytes_new": 9, "bytes_reused": 0}
    rounds.note(world.storage.records, DOMAIN, 1, snapshot=took, restore=took)
    world.list(1)
    # The next one is due in five minutes.
    world.source.automated = {"cs-automated-enc": [time.time() - 3_300]}

    assert world.take("check_window")["wait_seconds"] > 300


@pytest.mark.parametrize("until", ["lag fits", "writes stop"])
def test_a_call_that_was_overtaken_leaves_the_rest_to_the_next_one(
    restored: World, until: cutover.Until
) -> None:
    restored.begin()
    restored.source.tails["a"].shards[0].index("0-new")
    restored.destination.before = [("POST /a/_bulk", lambda: restored.catch_up())]

    assert restored.catch_up(until) == {"ended": False}
    assert restored.catch_up() == {"ended": True}


def test_a_last_round_that_was_overtaken_is_tried_again(restored: World) -> None:
    restored.begin()
    restored.source.tails["a"].shards[0].index("0-new")
    restored.freeze()
    restored.destination.before = [("POST /a/_bulk", lambda: restored.finish())]

    with pytest.raises(Unavailable, match="the next attempt takes over"):
        restored.finish()
    assert restored.finish() == {"caught_up": 2, "by_snapshot": 0}


def test_a_service_that_does_not_show_its_snapshots_is_no_hindrance(restored: World) -> None:
    restored.source.tails["b"].mapping = {"_source": {"enabled": False}}
    restored.begin()
    denied = (403, {"error": {"type": "security_exception", "reason": "no permissions for"}})
    restored.source.faults = [Fault("GET /_snapshot/_status", denied)]

    assert restored.take("check_window") == {"wait_seconds": 0}


def test_what_the_write_stop_was_spent_on(restored: World) -> None:
    restored.begin()
    assert restored.outcome["write_stop_steps"] == []
    restored.freeze()
    restored.finish()
    restored.hand_over()
    steps = restored.outcome["write_stop_steps"]
    assert [step["step"] for step in steps] == [
        "freeze_source",
        "catch_up_last",
        "hand_over_indices",
    ]
    assert all(step["seconds"] >= 0 and step["call_seconds"] >= 0 for step in steps)


def test_the_freeze_finds_its_blocks_noted(restored: World) -> None:
    restored.begin()
    noted = restored.storage.journal.open_changes()
    assert {change.place.key for change in noted} == {"a", "b"}
    restored.source.tails["b"].settings[BLOCK] = "false"

    restored.freeze()

    now = {change.place.key: change for change in restored.storage.journal.open_changes()}
    assert now["a"] in noted
    # Somebody has set it meanwhile: this is what is given back.
    assert now["b"].before == "false"


@pytest.fixture
def sliced(storage: Storage, make_job: MakeJob) -> World:
    """Each of the indices is a slice of its own."""
    world = World(storage, make_job(cutover={"shards_per_function": 1}))
    world.bulk()
    assert world.begin() == {"caught_up": 2, "by_snapshot": 0, "slices": 2}
    return world


def side_by_side[R](take: Callable[[int], R]) -> list[R]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(take, range(2)))


def test_slices_are_caught_up_side_by_side(sliced: World) -> None:
    first, second = (sliced.source.tails[name].shards[0] for name in "ab")
    first.index("0-new")
    second.delete("0-3")
    assert all(each["ended"] for each in side_by_side(lambda n: sliced.catch_up(number=n)))
    first.delete("0-1")
    second.index("0-newer")
    sliced.freeze()

    side_by_side(lambda n: sliced.catch_up("last", n))
    sent = len(sliced.destination.sent("POST /.*/_bulk"))
    assert sliced.finish() == {"caught_up": 2, "by_snapshot": 0}
    sliced.hand_over()
    sliced.take("move_aliases", 2)

    for name in "ab":
        assert content(sliced.source, name) == content(sliced.destination, name)
        assert sliced.destination.tails[name].settings.get("index.refresh_interval") is None
    # What the slices have done is done.
    assert len(sliced.destination.sent("POST /.*/_bulk")) == sent
    found = sliced.outcome
    phases = Counter(
        (each["phase"], each["documents"], each["deletes"]) for each in found["rounds"]
    )
    assert phases == {
        (phase, *done): 1 for phase in ("lag fits", "last") for done in ((1, 0), (0, 1))
    }
    assert [step["step"] for step in found["write_stop_steps"]] == [
        *("freeze_source", "catch_up_slices", "catch_up_last", "hand_over_indices", "move_aliases")
    ]
    cutover.learn(sliced.storage.records, DOMAIN)
    assert len(Tally.first(sliced.storage.records, 1.0).earlier) == 1


def test_people_see_the_slices_as_one(sliced: World) -> None:
    sliced.source.tails["a"].shards[0].index("0-new")
    sliced.source.tails["b"].shards[0].delete("0-1")

    for number in range(2):
        sliced.catch_up(number=number)

    look = sliced.storage.items["m-1", "progress#logs"]
    assert (look["documents"], look["deletes"]) == (1, 1)


def test_what_proves_unfit_in_several_slices_is_left_out_of_each(sliced: World) -> None:
    for name in "ab":
        sliced.source.tails[name].uuid = "made-anew"

    side_by_side(lambda n: sliced.catch_up(number=n))

    assert sliced.outcome["by_snapshot"].keys() == {"a", "b"}
    assert measured(sliced).by_snapshot == 2


def test_a_last_round_that_no_slice_has_run_is_run_before_the_proof(sliced: World) -> None:
    sliced.source.tails["b"].shards[0].index("0-new")
    sliced.freeze()
    sliced.catch_up("last", 0)

    assert sliced.finish() == {"caught_up": 2, "by_snapshot": 0}

    assert content(sliced.source, "b") == content(sliced.destination, "b")


def test_a_slice_that_was_written_to_is_not_proven(sliced: World) -> None:
    sliced.freeze()
    late = sliced.source.tails["b"].shards[0]
    sliced.source.before = [("POST /b/_refresh", lambda: late.index("0-late"))]

    sliced.catch_up("last", 0)
    with pytest.raises(SourceChanged, match="b: written to"):
        sliced.catch_up("last", 1)
    sliced.source.before = [("POST /b/_refresh", lambda: late.index("0-later"))] * 2
    with pytest.raises(SourceChanged, match="b: written to"):
        sliced.finish()

    # People are asked anew once, however many slices there are.
    assert len(sliced.outcome["write_stops_given_up"]) == 1


ISM_ENABLED = "plugins.index_state_management.enabled"


@pytest.fixture
def managed(restored: World) -> World:
    """A policy acts on one of the indices."""
    restored.source.settings["defaults"][ISM_ENABLED] = "true"
    restored.source.artifacts.managed = {"a": "keep-a-month"}
    restored.begin()
    return restored


def suspended(world: World) -> dict[str, str]:
    return world.source.settings["transient"]


def test_no_policy_acts_while_writes_are_stopped(managed: World) -> None:
    assert suspended(managed) == {}
    managed.freeze()
    assert suspended(managed) == {ISM_ENABLED: "false"}
    managed.finish()
    managed.hand_over()
    assert suspended(managed) == {ISM_ENABLED: "false"}
    managed.take("move_aliases", 2)
    assert suspended(managed) == {}


def test_policies_act_again_when_a_write_stop_is_given_up(managed: World) -> None:
    managed.freeze()
    managed.take("return_source_to_service", 2)
    assert suspended(managed) == {}


def test_policies_act_again_after_a_failure(managed: World) -> None:
    managed.freeze()
    give_back(managed)
    assert suspended(managed) == {}


def test_a_failure_lets_the_source_take_writes_again(restored: World) -> None:
    restored.begin()
    restored.freeze()
    restored.source.tails["a"].shards[0].index("0-new")
    restored.destination.faults = [Fault("GET /_tasks", (503, {}))]
    with pytest.raises(Unavailable):
        restored.finish()

    give_back(restored)

    assert restored.blocks() == {"a": None, "b": None}


def test_an_abort_ends_the_last_round(restored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapferry.cutover.slices._LOOK_FOR_ABORT_EVERY_SECONDS", 0.0)
    restored.begin()
    restored.freeze()
    restored.source.tails["a"].shards[0].index("0-new")
    fence = Fence(restored.storage.table, restored.job.migration_id)
    fence.open("execution")
    fence.close("roll-back")

    with pytest.raises(Unavailable, match="needs more time"):
        restored.finish()

    assert "0-new" not in restored.destination.tails["a"].shards[0].documents


def test_a_block_that_somebody_has_set_meanwhile_stays(restored: World) -> None:
    """Policies do so when an index is rolled over, for example."""
    restored.begin()
    restored.source.tails["a"].settings[BLOCK] = "true"
    restored.freeze()
    restored.freeze()
    assert restored.blocks() == {"a": "true", "b": "true"}

    outcome = give_back(restored)

    assert restored.blocks() == {"a": "true", "b": None}
    assert 'someone else made it "true"' in outcome["foreign"][0]


def test_a_block_on_what_is_not_caught_up_any_more_stays_too(restored: World) -> None:
    restored.begin()
    restored.source.tails["a"].mapping = {"properties": {"new": {"type": "semantic"}}}
    restored.destination.faults = [Fault("PUT /a/_mapping", (400, {"error": {"type": "x"}}))]
    restored.take("look_for_new_indices")
    restored.source.tails["a"].settings[BLOCK] = "true"
    restored.freeze()
    assert restored.finish() == {"caught_up": 1, "by_snapshot": 1}
    give_back(restored)
    assert restored.blocks() == {"a": "true", "b": None}


def test_a_block_is_left_though_the_first_attempt_to_freeze_has_failed(restored: World) -> None:
    restored.begin()
    restored.source.tails["a"].settings[BLOCK] = "true"
    restored.source.faults = [Fault("GET /.*/_settings", (503, {}))]
    with pytest.raises(Unavailable):
        restored.freeze()
    restored.freeze()
    restored.take("unblock_source")
    assert restored.blocks() == {"a": "true", "b": None}


def test_a_block_that_is_set_after_the_source_was_unblocked_stays(restored: World) -> None:
    restored.begin()
    restored.freeze()
    restored.take("unblock_source")
    restored.source.tails["a"].settings[BLOCK] = "true"
    give_back(restored)
    assert restored.blocks() == {"a": "true", "b": None}


def test_an_index_that_refuses_keeps_no_other_blocked(restored: World) -> None:
    restored.begin()
    restored.freeze()
    refusal = (429, {"error": {"type": "cluster_block_exception", "reason": "disk"}})
    for name, other in (("a", "b"), ("b", "a")):
        restored.freeze()
        restored.source.faults = [Fault(f"PUT /(.*,)?{name}(,.*)?/_settings", refusal, times=9)]
        assert give_back(restored)["failed"]
        assert restored.blocks() == {name: "true", other: None}
        restored.source.faults = []
    give_back(restored)
    assert restored.blocks() == {"a": None, "b": None}


@pytest.mark.parametrize(
    "give_up", [lambda world: give_back(world), lambda world: world.take("unblock_source")]
)
def test_a_block_that_was_set_before_writes_were_stopped_stays(
    restored: World, give_up: Callable[[World], object]
) -> None:
    restored.begin()
    restored.source.tails["a"].settings[BLOCK] = "true"
    give_up(restored)
    assert restored.blocks() == {"a": "true", "b": None}


def test_a_failure_unblocks_the_source_before_everything_else_is_given_back(
    managed: World,
) -> None:
    managed.freeze()
    managed.take("unblock_source", 2)
    assert "true" not in managed.blocks().values()
    assert suspended(managed) == {}


def test_after_the_hand_over_nothing_unblocks_the_source(restored: World) -> None:
    restored.begin()
    restored.freeze()
    restored.finish()
    restored.hand_over()
    restored.take("unblock_source", 2)
    assert restored.blocks() == {"a": "true", "b": "true"}


def test_a_mapping_without_documents_is_brought_before_people_are_asked(restored: World) -> None:
    restored.begin()
    mapping = {"properties": {"new": {"type": "keyword"}}}
    restored.source.tails["a"].mapping = mapping

    assert restored.take("look_for_new_indices") == {"new": 0}

    assert restored.destination.tails["a"].mapping == mapping
    restored.freeze()
    assert restored.finish() == {"caught_up": 2, "by_snapshot": 0}


def test_a_mapping_that_is_refused_is_left_to_the_last_snapshot(restored: World) -> None:
    restored.begin()
    restored.source.tails["a"].mapping = {"properties": {"new": {"type": "semantic"}}}
    restored.destination.faults = [Fault("PUT /a/_mapping", (400, {"error": {"type": "x"}}))]

    restored.take("look_for_new_indices")

    assert measured(restored).by_snapshot == 1
    restored.freeze()
    assert restored.finish() == {"caught_up": 1, "by_snapshot": 1}


def test_settings_that_clients_change_meanwhile_are_brought_before_people_are_asked(
    restored: World,
) -> None:
    restored.source.tails["b"].settings["index.max_result_window"] = "20000"
    restored.destination.tails["b"].settings["index.max_result_window"] = "20000"
    restored.begin()
    at_source, at_destination = (
        [side.tails[name].settings for name in "ab"]
        for side in (restored.source, restored.destination)
    )
    # The first two are tuned, the last one is the destination's own.
    at_source[0]["index.refresh_interval"] = "30s"
    at_source[0]["index.final_pipeline"] = "late"
    at_source[0]["index.max_terms_count"] = "70000"
    at_source[0]["index.routing.allocation.include._name"] = "node-1"
    del at_source[1]["index.max_result_window"]

    restored.take("look_for_new_indices")

    assert at_destination[0]["index.refresh_interval"] == "-1"
    assert at_destination[0]["index.final_pipeline"] == "_none"
    assert at_destination[0]["index.max_terms_count"] == "70000"
    assert at_destination[1].get("index.max_result_window") is None
    restored.freeze()
    assert restored.finish() == {"caught_up": 2, "by_snapshot": 0}
    assert at_destination[0]["index.refresh_interval"] == "30s"
    assert at_destination[0]["index.final_pipeline"] == "late"
    assert "index.routing.allocation.include._name" not in at_destination[0]


@pytest.mark.parametrize("others_by_snapshot", [False, True])
def test_what_clients_define_while_people_are_asked_is_brought_before_the_proof(
    restored: World, others_by_snapshot: bool
) -> None:
    if others_by_snapshot:
        restored.source.tails["c"] = FakeTailIndex(shards(1, documents=5), uuid="uuid-c")
        restored.source.tails["c"].mapping = {"_source": {"enabled": False}}
        restored.bulk()
    restored.begin()
    restored.catch_up()
    restored.take("look_for_new_indices")
    restored.source.tails["a"].mapping = {"properties": {"new": {"type": "keyword"}}}
    restored.source.tails["b"].settings["index.refresh_interval"] = "30s"
    restored.freeze()

    assert restored.finish() == {"caught_up": 2, "by_snapshot": int(others_by_snapshot)}
    if others_by_snapshot:
        restored.snapshot()
        restored.take("verify_copy", 2)

    assert restored.destination.tails["a"].mapping == restored.source.tails["a"].mapping
    assert restored.destination.tails["b"].settings["index.refresh_interval"] == "30s"


def test_a_setting_that_is_refused_is_left_to_the_last_snapshot(restored: World) -> None:
    restored.begin()
    restored.source.tails["a"].settings["index.codec"] = "best_compression"
    restored.destination.faults = [Fault("PUT /a/_settings", (400, {"error": {"type": "x"}}))]

    restored.take("look_for_new_indices")

    assert measured(restored).by_snapshot == 1
    assert "index.codec" in restored.outcome["by_snapshot"]["a"]
    restored.freeze()
    assert restored.finish() == {"caught_up": 1, "by_snapshot": 1}


def test_a_round_that_fails_beside_the_gate_is_followed_by_others(restored: World) -> None:
    restored.begin()
    restored.catch_up()
    restored.source.tails["a"].shards[0].index("0-new")
    restored.source.faults = [Fault("GET /_cluster/state/.*", (503, {}))]

    assert restored.catch_up("writes stop")["ended"]

    assert "0-new" in restored.destination.tails["a"].shards[0].documents


def test_what_fails_beside_the_gate_is_shown_until_it_passes(
    restored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would know that catching up has ended, and the prediction would be of days ago."""
    restored.begin()
    restored.catch_up()
    restored.source.faults = [Fault("GET /_cluster/state/.*", (403, {}), times=3)]
    restored.source.tails["a"].shards[0].index("0-new")
    looks: list[dict[str, Any]] = []
    sleep = restored.sleep

    def look_and_sleep(seconds: float) -> None:
        looks.append(restored.storage.items["m-1", "progress#logs"])
        sleep(seconds)

    monkeypatch.setattr(restored, "sleep", look_and_sleep)

    assert restored.catch_up("writes stop")["ended"]

    assert "0-new" in restored.destination.tails["a"].shards[0].documents
    assert "with 403" in looks[0]["failing"]
    assert "failing" not in looks[-1]


def test_all_indices_with_deletes_are_looked_at_together(restored: World) -> None:
    """While clients wait, each request counts."""
    restored.begin()
    restored.catch_up()
    for name in "ab":
        restored.source.tails[name].shards[0].delete("0-3")
    restored.freeze()

    assert restored.finish() == {"caught_up": 2, "by_snapshot": 0}

    for name in "ab":
        assert "0-3" not in restored.destination.tails[name].shards[0].documents
    assert restored.source.sent("GET /a,b/_stats/docs,indexing")
    assert not restored.source.sent("GET /[ab]/_stats/.*")


def test_a_round_that_is_to_stop_is_shown_as_no_failure(restored: World) -> None:
    restored.begin()
    restored.catch_up()
    restored.source.tails["a"].shards[0].index("0-new")
    busy = (429, {"error": {"reason": "rejected execution"}})
    restored.destination.faults = [Fault("POST /a/_bulk", busy, times=99)]
    # While the round waits for the destination, which it does for real.
    stopping = threading.Timer(0.5, StopMark(restored.storage.records, DOMAIN).set)
    stopping.start()

    assert restored.catch_up("writes stop")["ended"]

    stopping.join()
    assert restored.destination.sent("POST /a/_bulk")
    assert "failing" not in restored.storage.items["m-1", "progress#logs"]


def test_a_round_that_fails_before_the_gate_is_followed_by_others(restored: World) -> None:
    """The node of a primary without a copy may start again."""
    restored.begin()
    restored.source.tails["a"].shards[0].index("0-new")
    restored.source.faults = [Fault("GET /_cluster/state/.*", (503, {}))]

    assert restored.catch_up()["ended"]

    assert "0-new" in restored.destination.tails["a"].shards[0].documents


def test_rounds_that_go_on_failing_before_the_gate_are_a_failure(
    restored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(slices._LEAVE_AFTER_SECONDS, "lag fits", 1)
    restored.begin()
    restored.source.faults = [Fault("GET /_cluster/state/.*", (503, {}))]
    with pytest.raises(Unavailable):
        restored.catch_up()


@pytest.mark.parametrize("step", ["begin_catch_up", "look_for_new_indices"])
def test_a_step_during_which_an_index_is_deleted_is_tried_again(
    restored: World, step: cutover.Step
) -> None:
    if step == "look_for_new_indices":
        restored.begin()
    gone = (404, {"error": {"type": "index_not_found_exception", "reason": "no such index [b]"}})
    restored.source.faults = [Fault("GET /a,b/_settings", gone)]

    with pytest.raises(Unavailable, match="deleted or closed meanwhile"):
        restored.take(step)


def test_the_source_takes_writes_again_though_its_snapshot_cannot_be_read(restored: World) -> None:
    restored.begin()
    restored.freeze()
    snapshot = Place(side_of(DOMAIN), "running_snapshot", "repository/snapshot-2")
    restored.storage.journal.note(snapshot, False, True)
    restored.source.faults = [Fault("GET /_snapshot/.*", (503, {}))] * 2

    assert len(give_back(restored)["failed"]) == 1

    assert restored.blocks() == {"a": None, "b": None}


def test_what_becomes_unfit_beside_the_freeze_takes_its_block_nowhere(restored: World) -> None:
    restored.begin()
    restored.freeze()
    ways = Ways.of(restored.storage.records, DOMAIN)
    ways.leave_out({"b": "its mapping was refused"})
    ways.keep(restored.storage.records, DOMAIN)

    assert restored.finish() == {"caught_up": 1, "by_snapshot": 1}

    assert restored.blocks() == {"a": "true", "b": None}


def test_after_the_hand_over_no_failure_lets_the_source_take_writes(restored: World) -> None:
    restored.begin()
    restored.freeze()
    restored.finish()
    restored.hand_over()

    outcome = give_back(restored)

    assert restored.blocks() == {"a": "true", "b": "true"}
    assert (outcome["failed"], outcome["foreign"], len(outcome["kept"])) == ([], [], 2)
    assert "clients may have moved" in outcome["kept"][0]

    # When clients have moved, people have said so.
    assert restored.storage.journal.release(side_of(DOMAIN)) == 2
    assert give_back(restored)["kept"] == []
    assert restored.blocks() == {"a": None, "b": None}


def write(world: World, name: str) -> None:
    """A write by a way that no block stops."""
    world.source.tails[name].shards[0].index("0-0")


@pytest.fixture
def stopped(storage: Storage, make_job: MakeJob) -> World:
    """`a` and `c` are caught up, and `b` went by the last snapshot; the writes have stopped."""
    made = World(storage, make_job(domain__indices={"include": ["a", "b*", "c"]}))
    made.source.tails["c"] = FakeTailIndex(shards(1, documents=1), uuid="uuid-c")
    made.bulk()
    made.source.tails["b"].mapping = {"_source": {"enabled": False}}
    made.begin()
    made.freeze()
    assert made.finish() == {"caught_up": 2, "by_snapshot": 1}
    return made


def test_what_went_by_the_last_snapshot_is_frozen_before_it_is_handed_over(stopped: World) -> None:
    write(stopped, "b")
    stopped.snapshot()

    stopped.hand_over()

    assert stopped.blocks() == {"a": "true", "b": "true", "c": "true"}
    assert len(give_back(stopped)["kept"]) == 3


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a", write),
        ("b", write),
        ("b-new", lambda world, name: world.source.tails.update({name: FakeTailIndex([])})),
        ("b", lambda world, name: setattr(world.source.tails[name], "uuid", "made-anew")),
        ("b", lambda world, name: world.source.tails.pop(name)),
        ("c", lambda world, name: world.source.tails.pop(name)),
    ],
)
def test_what_is_written_to_after_it_was_copied_is_not_handed_over(
    stopped: World, name: str, change: Callable[[World, str], None]
) -> None:
    stopped.snapshot()
    change(stopped, name)

    with pytest.raises(SourceChanged, match=f"{name}: made"):
        stopped.take("verify_copy", 2)
    with pytest.raises(SourceChanged, match=f"{name}: made"):
        stopped.hand_over()

    present = indices.list_all(stopped.clients[1])
    assert "a" in Ownership(stopped.storage.records, stopped.job).of(present)
    assert give_back(stopped)["kept"] == []
    assert "true" not in stopped.blocks().values()


def test_a_write_stop_is_given_up_so_many_times_only(stopped: World) -> None:
    stopped.snapshot()
    for round_number in (2, 4):
        write(stopped, "a")
        # Another attempt of the same call is the same write stop.
        for _ in range(2):
            with pytest.raises(SourceChanged, match="a: made"):
                stopped.take("hand_over_indices", round_number)
        stopped.take("return_source_to_service", round_number)
        stopped.list(round_number + 1)
        stopped.snapshot(round_number + 1)
        stopped.take("begin_catch_up", round_number + 1)
        stopped.freeze()
        stopped.list(round_number + 2)
        stopped.take("catch_up_last", round_number + 2)
    write(stopped, "a")

    with pytest.raises(VerificationFailed, match=r"a: made, .* at each of 3 write stops"):
        stopped.take("hand_over_indices", 6)


def test_a_block_that_somebody_took_off_is_set_again(stopped: World) -> None:
    stopped.snapshot()
    stopped.source.tails["a"].settings[BLOCK] = None

    stopped.hand_over()

    assert stopped.blocks() == {"a": "true", "b": "true", "c": "true"}


def test_a_write_under_way_at_the_last_snapshot_is_noticed(stopped: World) -> None:
    stopped.source.tails["b"].shards[0].lagging = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snapferry.cutover.base._CHECKPOINT_SECONDS", 0)
        stopped.snapshot()
    stopped.source.tails["b"].shards[0].lagging = 0

    with pytest.raises(SourceChanged, match="b: made"):
        stopped.hand_over()


def test_the_last_snapshot_waits_until_what_was_written_is_durable(
    stopped: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snapferry.cutover.base._CHECKPOINT_SECONDS", 0)
    index = stopped.source.tails["b"]
    index.settings["index.translog.durability"] = "async"
    index.shards[0].lagging = 1
    stopped.snapshot()

    stopped.hand_over()

    assert stopped.blocks()["b"] == "true"


def test_a_service_that_blocks_nothing_is_watched_all_the_same(stopped: World) -> None:
    stopped.snapshot()
    write(stopped, "b")
    stopped.source.faults = [Fault("PUT /.*/_block/write", DENIED)]

    with pytest.raises(SourceChanged, match="b: made"):
        stopped.hand_over()


def test_a_service_that_shows_no_numbers_is_blocked_at_least(stopped: World) -> None:
    stopped.source.faults = [Fault("GET /_cluster/state/.*", DENIED)]
    stopped.snapshot()

    stopped.hand_over()

    assert stopped.blocks()["b"] == "true"


def test_an_index_of_which_not_every_primary_answers_is_asked_again(stopped: World) -> None:
    stopped.snapshot()
    stopped.source.faults = [Fault("GET /.*/_stats/.*", (200, {"indices": {}}), times=2)]

    with pytest.raises(Unavailable, match="its primary is missing"):
        stopped.hand_over()


def give_back(world: World) -> dict[str, Any]:
    storage = world.storage
    return roll_back.give_back(
        storage.journal, storage.records, lambda _: world.clients[0], float("inf")
    )
