"""Faults planted at a real destination, each found and named; and none where there is none."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opensearchpy import OpenSearch

from snapferry import aliases, catchup, indices, restores, snapshots, verification
from snapferry.journal import Journal
from snapferry.ownership import Ownership
from snapferry.records import Records
from snapferry.request import DomainJob
from tests.sandbox.migrations import Sandbox, fill

_PATIENCE_SECONDS = 60.0
_INDEX = "proof"
_DOMAIN = "source"


@dataclass
class Copy:
    """An index that was restored, with the administrators' clients beside the product's."""

    sandbox: Sandbox
    source: OpenSearch
    destination: OpenSearch
    ownership: Ownership
    job: DomainJob

    @property
    def records(self) -> Records:
        return self.ownership.records

    def restore(self, journal: Journal) -> None:
        """Makes it by a snapshot, and gets it ready to be caught up."""
        selected = [self.listed()]
        catchup.keep_base(self.source, self.records, _DOMAIN, [_INDEX], 1, _PATIENCE_SECONDS)
        snapshot = snapshots.start(journal, self.source, self.job, 1, [_INDEX])
        assert snapshots.check(self.source, self.job, snapshot, _PATIENCE_SECONDS).ended
        started_at = time.time()
        restores.start(self.destination, self.ownership, self.job, 1, selected, [_INDEX])
        assert restores.check(self.destination, selected, started_at, _PATIENCE_SECONDS).ended
        assert not catchup.begin(self.source, self.destination, self.records, _DOMAIN, [_INDEX], 1)

    def listed(self) -> indices.Index:
        return indices.list_all(self.source)[_INDEX]

    def keep_ends(self) -> None:
        verification.keep_ends(
            self.source, self.destination, self.records, _DOMAIN, [_INDEX], {_INDEX}
        )

    def documents(self, moment: verification.Moment = "after") -> verification.Verification:
        done = verification.run(
            self.source,
            self.destination,
            self.records,
            self.job,
            moment,
            [self.listed()],
            _PATIENCE_SECONDS,
        )
        assert done.has_ended
        return done

    def differences(self) -> list[str]:
        """Those of documents, after the cut-over."""
        self.keep_ends()
        [index] = self.documents().indices
        return sorted(map(str, index.differences))

    def faults(self) -> list[str]:
        """What is found while writes are stopped."""
        verdicts = verification.verify(
            self.source, self.destination, self.ownership, [self.listed()]
        )
        return [fault for verdict in verdicts for fault in verdict.faults]


@pytest.fixture
def copy(
    sandbox: Sandbox,
    registered: DomainJob,
    journal: Journal,
    source: OpenSearch,
    destination: OpenSearch,
    ownership: Ownership,
) -> Iterator[Copy]:
    """An index of 300 documents in two shards."""
    sandbox.source.indices.create(
        index=_INDEX,
        body={
            "settings": {
                "number_of_shards": 2,
                "number_of_replicas": 0,
                "analysis": {"analyzer": {"words": {"tokenizer": "standard"}}},
            },
            "mappings": {
                "properties": {
                    "number": {"type": "long"},
                    "parts": {"type": "nested"},
                    "text": {"type": "text", "analyzer": "words"},
                }
            },
            "aliases": {
                "plain": {},
                "filtered": {"filter": {"term": {"number": 1}}},
                "written": {"is_write_index": True},
            },
        },
    )
    fill(sandbox.source, _INDEX, 300)
    job = registered.model_copy(update={"verification": "full"})
    made = Copy(sandbox, source, destination, ownership, job)
    made.restore(journal)
    yield made
    for cluster in (sandbox.source, sandbox.destination):
        cluster.indices.delete(index=f"{_INDEX},{_INDEX}-*", ignore_unavailable=True)


def test_a_sound_copy_has_no_fault_while_clients_move_on(copy: Copy) -> None:
    """Before and after, with what was caught up, and what clients do meanwhile on either side."""
    at_source, at_destination = copy.sandbox.source, copy.sandbox.destination
    fill(at_source, _INDEX, 20, first=290)
    for number in range(100, 110):
        at_source.delete(index=_INDEX, id=str(number))
    at_source.index(index=_INDEX, id="routed", routing="a", body={"number": 1.50})
    at_source.index(index=_INDEX, id="lines", body='{\n  "number": 1\n}\n')
    [before] = copy.documents("before").indices
    done = catchup.run_last_round(
        copy.source, copy.destination, copy.records, _DOMAIN, [_INDEX], _PATIENCE_SECONDS
    )
    assert done.indices[0].sealed
    aliases.move(copy.source, copy.destination, [_INDEX])
    assert copy.faults() == []
    copy.keep_ends()
    fill(at_destination, _INDEX, 5)
    fill(at_destination, _INDEX, 5, first=1000)
    for key in ("20", "21"):
        at_destination.delete(index=_INDEX, id=key)

    [after] = copy.documents().indices

    assert before.differences == after.differences == []
    # In both shards something was deleted, so that they are compared once more.
    assert len(before.undecided) == 2
    assert (after.documents, after.rewritten, sum(after.gone.values())) == (302 - 7, 5, 2)


def test_documents_that_differ_are_found_and_named(copy: Copy) -> None:
    def document(number: int, **changes: Any) -> dict[str, Any]:
        return {"number": number, "parts": [{"a": 1}, {"a": number}]} | changes

    writes: dict[str, dict[str, Any]] = {
        "surplus": document(1),
        "10": document(11),
        "20": document(20, parts=[{"a": 1}, {"a": 21}]),
        "30": document(30) | {"number": "30"},
        "40": document(41),
        "41": document(40),
    }
    for key, body in writes.items():
        copy.sandbox.destination.index(index=_INDEX, id=key, body=body)
    copy.sandbox.destination.delete(index=_INDEX, id="50")

    assert copy.differences() == [
        "document 10 differs in the field number",
        "document 20 differs in the field parts[1].a",
        "document 30 differs in the field number",
        "document 40 differs in the field number",
        "document 41 differs in the field number",
        "document 50 is missing",
        "document surplus is one too many",
    ]
    assert copy.faults() == []


def change_mapping(copy: Copy) -> None:
    copy.sandbox.destination.indices.put_mapping(
        index=_INDEX, body={"properties": {"new": {"type": "keyword"}}}
    )


def change_analyzer(copy: Copy) -> None:
    at_destination = copy.sandbox.destination.indices
    at_destination.close(index=_INDEX)
    at_destination.put_settings(
        index=_INDEX, body={"index.analysis.analyzer.words.tokenizer": "whitespace"}
    )
    at_destination.open(index=_INDEX)


def lose_replica(copy: Copy) -> None:
    copy.sandbox.source.indices.put_settings(index=_INDEX, body={"number_of_replicas": 1})


def leave_shard_unassigned(copy: Copy) -> None:
    for cluster in (copy.sandbox.source, copy.sandbox.destination):
        cluster.indices.put_settings(index=_INDEX, body={"number_of_replicas": 1})


def lose_index(copy: Copy) -> None:
    copy.sandbox.destination.indices.delete(index=_INDEX)


def leave_stale_index(copy: Copy) -> None:
    copy.sandbox.destination.indices.create(index=f"{_INDEX}-stale")
    present = indices.list_all(copy.destination)
    copy.ownership.confirm({name: present[name] for name in (_INDEX, f"{_INDEX}-stale")})


def lose_document(copy: Copy) -> None:
    copy.sandbox.destination.delete(index=_INDEX, id="7")


def add_documents(copy: Copy) -> None:
    fill(copy.sandbox.destination, _INDEX, 2, first=1000)


def test_each_fault_is_found_while_writes_are_stopped(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One node has no place for a replica.
    monkeypatch.setattr(verification.copy, "_LONGEST_WAIT_SECONDS", 1)
    planted: list[tuple[Callable[[Copy], None], str]] = [
        (lose_document, "299 documents instead of 300"),
        (add_documents, "301 documents instead of 300"),
        (change_mapping, "mapping properties.new is one too many"),
        (
            change_analyzer,
            "setting index.analysis.analyzer.words.tokenizer is whitespace instead of standard",
        ),
        (leave_stale_index, "the source has it no more: an earlier round restored it"),
        (lose_replica, "0 replicas instead of 1"),
        (leave_shard_unassigned, "health is yellow: 2 shards are unassigned"),
        (lose_index, "the index is missing at the destination"),
    ]
    assert copy.faults() == []

    for plant, fault in planted:
        assert not [found for found in copy.faults() if found.startswith(fault)]
        plant(copy)
        assert [found for found in copy.faults() if found.startswith(fault)]


def test_replicas_are_waited_for(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification.copy, "_LONGEST_WAIT_SECONDS", 2)
    leave_shard_unassigned(copy)
    began_at = time.monotonic()

    [fault] = copy.faults()

    assert fault.startswith("health is yellow")
    assert time.monotonic() - began_at >= 2


def test_faults_of_aliases_are_found(copy: Copy) -> None:
    at_destination = copy.sandbox.destination.indices
    aliases.move(copy.source, copy.destination, [_INDEX])
    assert aliases.faults(copy.source, copy.destination, [_INDEX]) == []
    at_destination.delete_alias(index=_INDEX, name="plain")
    at_destination.put_alias(index=_INDEX, name="filtered", body={})
    at_destination.put_alias(index=_INDEX, name="written", body={"is_write_index": False})

    assert aliases.faults(copy.source, copy.destination, [_INDEX]) == [
        f"alias filtered of {_INDEX}.filter is missing",
        f"alias plain of {_INDEX} is missing",
        f"alias written of {_INDEX}.is_write_index is False instead of True",
    ]
