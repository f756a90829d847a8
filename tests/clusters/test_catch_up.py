"""The tail between two real clusters, while clients write."""

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from opensearchpy import OpenSearch
from opensearchpy.helpers import scan

from snapferry import catchup, clients, indices, repositories, restores, snapshots
from snapferry.catchup import IndexRound
from snapferry.errors import VerificationFailed
from snapferry.indices import Index
from snapferry.journal import Journal
from snapferry.ownership import Ownership
from snapferry.records import Records
from snapferry.request import DomainJob
from tests.sandbox.migrations import Sandbox, fill, wait_until

_PATIENCE_SECONDS = 60.0
_DOMAIN = "source"


class Tail:
    """The product's calls, in the order in which a migration makes them."""

    def __init__(
        self,
        source: OpenSearch,
        destination: OpenSearch,
        records: Records,
        journal: Journal,
        job: DomainJob,
    ) -> None:
        self.source = source
        self.destination = destination
        self.records = records
        self.journal = journal
        self.job = job

    def bulk(self, name: str, round_number: int = 1) -> None:
        """Snapshot and restore."""
        catchup.keep_base(self.source, self.records, _DOMAIN, [name], round_number, 10)
        selected = listed(self.source, name)
        snapshot = snapshots.start(self.journal, self.source, self.job, round_number, [name])
        assert snapshots.check(self.source, self.job, snapshot, _PATIENCE_SECONDS).ended
        ownership = Ownership(self.records, self.job)
        restores.start(self.destination, ownership, self.job, round_number, selected, [name])
        assert restores.check(self.destination, selected, time.time(), _PATIENCE_SECONDS).ended
        catchup.tune(self.destination, self.records, _DOMAIN, [name], round_number)
        unfit = catchup.begin(
            self.source, self.destination, self.records, _DOMAIN, [name], round_number
        )
        assert unfit == {}

    def round(self, name: str, hold_seconds: float = _PATIENCE_SECONDS) -> IndexRound:
        done = catchup.run_round(
            self.source, self.destination, self.records, _DOMAIN, [name], hold_seconds
        )
        [index] = done.indices
        return index

    def last_round(self, name: str) -> IndexRound:
        catchup.freeze(self.journal, self.source, _DOMAIN, [name], _PATIENCE_SECONDS)
        done = catchup.run_last_round(
            self.source, self.destination, self.records, _DOMAIN, [name], _PATIENCE_SECONDS
        )
        [index] = done.indices
        return index


@pytest.fixture
def records(job: DomainJob) -> Records:
    return clients.records(job.migration_id)


@pytest.fixture
def tail(
    job: DomainJob,
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    journal: Journal,
    writable_bucket: None,  # noqa: ARG001
) -> Iterator[Tail]:
    made = Tail(source, destination, records, journal, job)
    repositories.register_source(made.journal, source, job)
    repositories.register_destination(made.journal, destination, job)
    yield made
    for cluster in (source, destination):
        cluster.snapshot.delete_repository(repository=job.repository)


@pytest.fixture
def index(sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name that is free on both sides, and is so afterwards."""
    name = f"tail-{request.node.name.removeprefix('test_').replace('_', '-')}"
    yield name
    for cluster in (sandbox.source, sandbox.destination):
        cluster.indices.delete(index=name, ignore_unavailable=True)


class Clients:
    """Clients that write at the source: everything that changes a document."""

    def __init__(self, cluster: OpenSearch, index: str) -> None:
        self._cluster = cluster
        self._index = index
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(random.Random(seed),))  # noqa: S311
            for seed in range(6)
        ]
        self.writes = 0

    @contextmanager
    def writing(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _write(self, chance: random.Random) -> None:
        # Enough to have writes under way at each moment, and some processor for the clusters.
        while not self._stop.wait(0.02):
            actions = [action for _ in range(10) for action in self._actions(chance)]
            answer = self._cluster.bulk(
                index=self._index, body="".join(f"{json.dumps(line)}\n" for line in actions)
            )
            self.writes += len(answer["items"])

    def _actions(self, chance: random.Random) -> list[dict[str, Any]]:
        number = chance.randrange(4000)
        value = chance.random()
        document = {"number": value, "parts": [{"a": 1}, {"a": value}]}
        match chance.randrange(7):
            case 0 | 1:
                return [{"index": {"_id": str(number)}}, document]
            case 2:
                return [{"update": {"_id": str(number)}}, {"doc": {"updated": value}}]
            case 3:
                return [{"delete": {"_id": str(number)}}]
            case 4:
                # Versions begin again.
                return [{"delete": {"_id": str(number)}}, {"index": {"_id": str(number)}}, document]
            case 5:
                key = {"_id": f"external-{number}", "version_type": "external"}
                return [{"index": {**key, "version": chance.randrange(1, 10**12)}}, document]
            case _:
                key = {"_id": f"routed-{number}", "routing": str(number % 5)}
                return [{"delete": key}] if chance.random() < 0.3 else [{"index": key}, document]


def content(cluster: OpenSearch, index: str) -> dict[str, Any]:
    """Everything that an index holds."""
    cluster.indices.refresh(index=index)
    return {
        hit["_id"]: (hit["_version"], hit.get("_routing"), hit["_source"])
        for hit in scan(cluster, index=index, version=True, size=2000)
    }


def listed(cluster: OpenSearch, *names: str) -> list[Index]:
    present = indices.list_all(cluster)
    return [present[name] for name in names]


def create(cluster: OpenSearch, index: str, *, shards: int = 3) -> None:
    cluster.indices.create(
        index=index,
        body={
            "settings": {
                "number_of_shards": shards,
                "number_of_replicas": 0,
                # So that a document which is made anew gets a low version soon.
                "gc_deletes": "0",
            },
            "mappings": {"properties": {"parts": {"type": "nested"}}},
        },
    )


def test_every_document_and_version_arrives(sandbox: Sandbox, tail: Tail, index: str) -> None:
    create(sandbox.source, index)
    fill(sandbox.source, index, 3000)
    clients_writing = Clients(sandbox.source, index)
    with clients_writing.writing():
        for round_number in (1, 2):
            tail.bulk(index, round_number)
            rounds = [tail.round(index) for _ in range(3)]
    last = tail.last_round(index)

    assert all(done.sealed and not done.unfit for done in (*rounds, last))
    assert clients_writing.writes > 1000
    assert sum(done.documents for done in rounds) > 0
    assert sum(done.deletes for done in (*rounds, last)) > 0
    assert content(sandbox.destination, index) == content(sandbox.source, index)


def test_a_call_that_runs_out_of_time_is_continued(
    sandbox: Sandbox, tail: Tail, index: str
) -> None:
    create(sandbox.source, index)
    fill(sandbox.source, index, 10)
    tail.bulk(index)
    fill(sandbox.source, index, 3000, first=5)

    calls = [tail.round(index, hold_seconds=0)]
    while not calls[-1].sealed:
        calls.append(tail.round(index, hold_seconds=0 if len(calls) < 3 else _PATIENCE_SECONDS))

    assert [call.sealed for call in calls] == [False] * (len(calls) - 1) + [True]
    assert len(calls) > 3
    # Nothing was copied twice.
    assert sum(call.documents for call in calls) == 3000
    assert tail.last_round(index).sealed
    assert content(sandbox.destination, index) == content(sandbox.source, index)


def test_surplus_and_missing_documents_of_the_destination_are_found(
    sandbox: Sandbox, tail: Tail, index: str
) -> None:
    create(sandbox.source, index, shards=1)
    fill(sandbox.source, index, 2000)
    tail.bulk(index)
    # Counts are equal again.
    sandbox.destination.index(index=index, id="surplus", body={"number": 1})
    sandbox.destination.delete(index=index, id="7")
    sandbox.source.delete(index=index, id="8")

    done = tail.round(index)

    assert (done.sealed, done.deletes) == (True, 2)
    assert content(sandbox.destination, index) == content(sandbox.source, index)
    # Counts prove nothing from now on, and aren't needed.
    sandbox.source.delete(index=index, id="9")
    assert tail.last_round(index).deletes == 1
    assert content(sandbox.destination, index) == content(sandbox.source, index)


def test_deletes_are_found_in_an_index_that_was_shrunk(
    sandbox: Sandbox, tail: Tail, index: str
) -> None:
    documents, wide = 20_000, f"{index}-wide"
    fill(sandbox.source, wide, documents, shards=4)
    sandbox.source.indices.put_settings(index=wide, body={"index.blocks.write": True})
    settings_of_target = {
        "index.number_of_shards": 1,
        "index.number_of_replicas": 0,
        "index.blocks.write": None,
    }
    sandbox.source.indices.shrink(index=wide, target=index, body={"settings": settings_of_target})
    sandbox.source.cluster.health(index=index, params={"wait_for_status": "green"})
    sandbox.source.indices.delete(index=wide)
    tail.bulk(index)
    deleted = range(0, documents, documents // 100)
    for number in deleted:
        sandbox.source.delete(index=index, id=str(number))

    done = tail.last_round(index)

    assert done.sealed
    assert done.deletes == len(deleted)
    assert sandbox.destination.count(index=index)["count"] == documents - len(deleted)


@pytest.mark.parametrize("change", ["surplus", "missing"])
def test_a_difference_that_nobody_looked_for_fails_the_proof(
    sandbox: Sandbox, tail: Tail, index: str, change: str
) -> None:
    create(sandbox.source, index, shards=1)
    fill(sandbox.source, index, 10)
    tail.bulk(index)
    if change == "surplus":
        sandbox.destination.index(index=index, id="surplus", body={"number": 1})
    else:
        sandbox.destination.delete(index=index, id="7")

    with pytest.raises(VerificationFailed, match=r"\[0\]: \d+ documents instead of \d+"):
        tail.last_round(index)


def test_settings_are_given_back(
    sandbox: Sandbox, tail: Tail, destination: OpenSearch, records: Records, index: str
) -> None:
    create(sandbox.source, index)
    sandbox.source.indices.put_settings(
        index=index,
        body={"index.translog.durability": "async", "index.translog.sync_interval": "60s"},
    )
    fill(sandbox.source, index, 10)
    # A later restore brings the settings once more.
    for round_number in (1, 2):
        tail.bulk(index, round_number)
        tuned = settings(sandbox.destination, index)
        assert tuned["index.refresh_interval"] == "-1"
        assert tuned["index.translog.durability"] == "request"
    fill(sandbox.source, index, 10, first=10)
    assert tail.last_round(index).sealed

    catchup.tune(destination, records, _DOMAIN, [index], 2)
    catchup.give_back(destination, records, _DOMAIN, [index], 2)

    before, after = settings(sandbox.source, index), settings(sandbox.destination, index)
    for name in ("refresh_interval", "gc_deletes", "final_pipeline", "translog.durability"):
        assert after.get(f"index.{name}") == before.get(f"index.{name}")


def test_settings_that_were_changed_at_the_source_are_brought(
    sandbox: Sandbox,
    tail: Tail,
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    index: str,
) -> None:
    fill(sandbox.source, index, 10)
    tail.bulk(index)
    sandbox.source.indices.put_settings(
        index=index, body={"index.refresh_interval": "30s", "index.max_result_window": 20_000}
    )
    call = (source, destination, records, _DOMAIN, [index], 1)

    assert catchup.bring_settings(*call) == {}

    assert settings(sandbox.destination, index)["index.refresh_interval"] == "-1"
    catchup.give_back(destination, records, _DOMAIN, [index], 1)
    after = settings(sandbox.destination, index)
    assert (after["index.refresh_interval"], after["index.max_result_window"]) == ("30s", "20000")

    sandbox.source.indices.close(index=index)
    sandbox.source.indices.put_settings(index=index, body={"index.codec": "best_compression"})
    sandbox.source.indices.open(index=index)
    [(name, reason)] = catchup.bring_settings(*call).items()
    assert name == index
    assert reason.startswith("index.codec changed at the source, which the destination refuses")


def test_documents_pass_no_pipeline_of_the_destination(
    sandbox: Sandbox, tail: Tail, index: str
) -> None:
    kinds = ("default_pipeline", "final_pipeline")
    clusters = (sandbox.source, sandbox.destination)
    for cluster in clusters:
        for kind in kinds:
            # Each pass leaves its trace.
            append = {"append": {"field": "passed", "value": kind}}
            cluster.ingest.put_pipeline(id=f"{index}-{kind}", body={"processors": [append]})
    create(sandbox.source, index)
    sandbox.source.indices.put_settings(
        index=index, body={f"index.{kind}": f"{index}-{kind}" for kind in kinds}
    )
    fill(sandbox.source, index, 10)
    tail.bulk(index)
    fill(sandbox.source, index, 10, first=5)

    assert tail.last_round(index).documents == 10

    try:
        copied = content(sandbox.destination, index)
        assert copied == content(sandbox.source, index)
        assert copied["14"][2]["passed"] == list(kinds)
    finally:
        for cluster in clusters:
            cluster.indices.delete(index=index)
            for kind in kinds:
                cluster.ingest.delete_pipeline(id=f"{index}-{kind}")


def settings(cluster: OpenSearch, index: str) -> dict[str, str]:
    answer = cluster.indices.get_settings(index=index, params={"flat_settings": "true"})
    found: dict[str, str] = answer[index]["settings"]
    return found


@contextmanager
def short_sighted(sandbox: Sandbox, **blindness: Any) -> Iterator[OpenSearch]:
    """A client at the source whose role doesn't show it everything."""
    administrator = sandbox.source
    administrator.security.create_user(
        username="short-sighted", body={"password": "Blurred-7142-vision"}
    )
    administrator.security.create_role(
        role="short-sighted",
        body={
            "cluster_permissions": ["cluster_composite_ops", "cluster_monitor"],
            "index_permissions": [
                {"index_patterns": ["*"], "allowed_actions": ["indices_all"], **blindness}
            ],
        },
    )
    administrator.security.create_role_mapping(
        role="short-sighted", body={"users": ["short-sighted"]}
    )
    try:
        yield clients._cluster(
            "source",
            urlsplit(sandbox.world.sources[0].url).netloc,
            http_auth=("short-sighted", "Blurred-7142-vision"),
            ca_certs=str(sandbox.world.sources[0].ca_file),
        )
    finally:
        administrator.security.delete_role_mapping(role="short-sighted")
        administrator.security.delete_role(role="short-sighted")
        administrator.security.delete_user(username="short-sighted")


def test_a_caller_who_does_not_see_everything_deletes_nothing(
    sandbox: Sandbox, tail: Tail, index: str
) -> None:
    create(sandbox.source, index)
    fill(sandbox.source, index, 100)
    tail.bulk(index)
    sandbox.source.delete(index=index, id="8")
    with short_sighted(sandbox, dls=json.dumps({"range": {"number": {"lt": 50}}})) as reader:
        tail.source = reader

        done = tail.round(index)
        [reason] = catchup.qualify(reader, tail.destination, listed(sandbox.source, index)).values()

    assert "document-level security" in done.unfit
    assert not done.sealed
    assert len(content(sandbox.destination, index)) == 100
    assert "document-level security" in reason


def test_what_a_client_reads_at_once_is_not_taken_for_hidden(
    sandbox: Sandbox, tail: Tail, index: str
) -> None:
    """The statistics count a document that was just read before searches show it."""
    create(sandbox.source, index)
    fill(sandbox.source, index, 100)
    tail.bulk(index)
    stopping = threading.Event()

    def write_and_read() -> None:
        for number in itertools.count():
            key = f"new-{number}"
            sandbox.source.index(index=index, id=key, body={"number": number})
            sandbox.source.get(index=index, id=key)
            if stopping.wait(0.02):
                return

    with ThreadPoolExecutor(1) as client:
        writing = client.submit(write_and_read)
        try:
            for key in range(30):
                sandbox.source.delete(index=index, id=str(key))
                assert tail.round(index).unfit == ""
        finally:
            stopping.set()
        writing.result()
    done = tail.last_round(index)

    assert (done.sealed, done.unfit) == (True, "")
    assert content(sandbox.destination, index) == content(sandbox.source, index)


def test_a_caller_who_does_not_see_documents_as_they_are_copies_none(
    sandbox: Sandbox, source: OpenSearch, tail: Tail, index: str
) -> None:
    create(sandbox.source, index)
    for number in range(30):
        sandbox.source.index(index=index, id=str(number), body={"number": number, "name": "Ada"})
    tail.bulk(index)
    for number in range(20):
        sandbox.source.delete(index=index, id=str(number))
    selected = listed(sandbox.source, index)
    assert catchup.qualify(source, tail.destination, selected) == {}

    for blindness in ({"masked_fields": ["name"]}, {"fls": ["~name"]}):
        with short_sighted(sandbox, **blindness) as reader:
            reasons = catchup.qualify(reader, tail.destination, selected)
        assert "field masking or field-level security" in reasons[index]


def test_indices_qualify_or_say_why_not(
    sandbox: Sandbox, source: OpenSearch, destination: OpenSearch, index: str
) -> None:
    administrator = sandbox.source
    variants: dict[str, dict[str, Any]] = {
        "": {"mappings": {"properties": {"parts": {"type": "nested"}}}},
        "append-only": {"settings": {"index.append_only.enabled": True}},
        "disabled": {"mappings": {"_source": {"enabled": False}}},
        "filtered": {"mappings": {"_source": {"excludes": ["secret"]}}},
        "closed": {},
        "shards": {"settings": {"number_of_shards": 2}},
    }
    names = {f"{index}{suffix}": suffix for suffix in variants}
    try:
        for name, suffix in names.items():
            administrator.indices.create(index=name, body=variants[suffix])
        administrator.index(index=index, body={"parts": [{"a": 1}, {"a": 2}]})
        administrator.indices.close(index=f"{index}closed")
        sandbox.destination.indices.create(index=f"{index}shards")

        reasons = catchup.qualify(source, destination, listed(administrator, *names))
    finally:
        for cluster in (sandbox.source, sandbox.destination):
            cluster.indices.delete(index=",".join(names), ignore_unavailable=True)

    assert {names[name]: reason for name, reason in reasons.items()} == {
        "append-only": "it is append-only",
        "disabled": "its _source is disabled",
        "filtered": "its _source is filtered",
        "closed": "it is closed",
        "shards": "it has 2 shards at the source and 1 at the destination",
    }


def test_indices_of_data_streams_are_known(sandbox: Sandbox, destination: OpenSearch) -> None:
    at_destination = sandbox.destination.indices
    template = {"index_patterns": ["tail-stream"], "data_stream": {}}
    at_destination.put_index_template(name="tail-stream", body=template)
    at_destination.create_data_stream(name="tail-stream")
    try:
        assert indices.data_streams(destination) == {"tail-stream": [".ds-tail-stream-000001"]}
    finally:
        at_destination.delete_data_stream(name="tail-stream")
        at_destination.delete_index_template(name="tail-stream")


def test_documents_arrive_as_the_text_that_they_are(
    sandbox: Sandbox, tail: Tail, index: str
) -> None:
    sandbox.source.indices.create(index=index, body={"mappings": {"enabled": False}})
    fill(sandbox.source, index, 1)
    tail.bulk(index)
    texts = {
        "digits": '{"a": 1.0, "b": 1, "c": -0.0, "d": 1e400, "e": 123456789012345678901234567890}',
        "lines": '{\n  "a": [\r\n 1,\t2 ],\n  "b": "\\n"\n}',
        "letters": '{"é": "\U0001f98a\\ud83e", "\\u0041": "\u2028"}',
        "_source": '{"_id": 1, "_source": {"x": 1}, "hits": [{"_id": "a", "_source": 1.10}]}',
    }
    for key, text in texts.items():
        sandbox.source.index(index=index, id=key, body=text)

    tail.last_round(index)

    for key, text in texts.items():
        copy = tail.destination.get(index=index, id=key)["_source"]
        assert copy == text.replace("\n", " ")


def test_a_block_that_has_not_waited_for_all_writes_is_taken_off_whole(
    tail: Tail, index: str, sandbox: Sandbox
) -> None:
    """Its setting goes without it, and so does the block only once it is finished."""
    fill(sandbox.source, index, 10)
    catchup.note_blocks(tail.journal, tail.source, _DOMAIN, [index])
    with Clients(sandbox.source, index).writing():

        def has_waited() -> bool:
            tail.source.indices.put_settings(index=index, body={"index.blocks.write": None})
            # Sooner than the writes that run can end.
            block = f"/{index}/_block/write?timeout=1nanos"
            return bool(tail.source.transport.perform_request("PUT", block)["acknowledged"])

        wait_until(lambda: not has_waited())

    catchup.let_go(tail.journal, tail.source, _DOMAIN)

    sandbox.source.index(index=index, body={"written": "again"})
