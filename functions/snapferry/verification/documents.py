"""Compares documents call by call: what one call doesn't come to, the next one does."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import batched, chain
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices, metrics, progress
from snapferry.catchup import mappings, marks, primaries, qualification
from snapferry.catchup.primaries import Primary
from snapferry.catchup.side import Side, refresh
from snapferry.engines import Engine
from snapferry.errors import VerificationFailed
from snapferry.indices import Index
from snapferry.records import Records
from snapferry.request import DomainJob
from snapferry.verification.content import Comparison, Difference, Findings
from snapferry.verification.ends import kept_ends
from snapferry.verification.slices import Ends, Moment, Slice, cut, sample, width
from snapferry.ways import Ways

# More of them would take the processor from each other, and memory.
_SLICES_AT_ONCE = 4
_SLICES_BETWEEN_LOOKS = 8
_KEEP_EVERY_SECONDS = 20
_MOST_DIFFERENCES = 20
# A function has 15 minutes.
_LONGEST_CALL_SECONDS = 720


@dataclass
class IndexComparison:
    """How far an index was compared, and what was found.

    Attributes:
        index: its name.
        shards: up to which operations.
        width: of a slice.
        slices: how many are to be compared.
        slices_of: into how many both sides were cut.
        done: how many were compared.
        documents: compared.
        rewritten: documents that a client has written meanwhile, so that they aren't judged.
        gone: documents that the destination lacks, and a client may have deleted, by shard.
        gone_examples: some of them.
        untold: shards of which nobody can tell whether a client has deleted what is gone.
        differences: as many as are named.
        undecided: slices that are to be compared again after the writes have stopped.
    """

    index: str
    shards: list[Ends]
    width: int
    slices: int
    slices_of: int
    done: int = 0
    documents: int = 0
    rewritten: int = 0
    gone: dict[str, int] = field(default_factory=dict)
    gone_examples: list[Difference] = field(default_factory=list)
    untold: list[int] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    undecided: list[Slice] = field(default_factory=list)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "IndexComparison":
        """Makes one of its plain JSON."""
        return cls(
            **{
                **record,
                "shards": list(map(Ends.of, record["shards"])),
                "gone_examples": [Difference(**each) for each in record["gone_examples"]],
                "differences": [Difference(**each) for each in record["differences"]],
                "undecided": [Slice(*each) for each in record["undecided"]],
            }
        )

    @property
    def has_ended(self) -> bool:
        """Whether all of it was compared, or more is wrong than people want to read."""
        return self.done == self.slices or len(self.differences) >= _MOST_DIFFERENCES

    @property
    def deleted_or_lost(self) -> int:
        """How many are gone of which nobody can tell whether a client has deleted them."""
        return sum(self.gone[str(number)] for number in self.untold)

    def add(self, part: Slice, findings: Findings) -> None:
        """Takes the findings of its next slice in."""
        self.done += 1
        self.documents += findings.documents
        self.rewritten += findings.rewritten
        self.differences = (self.differences + findings.differences)[:_MOST_DIFFERENCES]
        if findings.gone:
            shard = str(part.shard)
            self.gone[shard] = self.gone.get(shard, 0) + len(findings.gone)
            self.gone_examples = (self.gone_examples + findings.gone)[:_MOST_DIFFERENCES]
        if findings.undecided:
            self.undecided.append(part)

    def blame(self, present: Sequence[Primary]) -> None:
        """Tells what clients have deleted from what was never there.

        A deletion leaves no document behind, only a count. Where that doesn't explain all that
        is gone, nobody can tell which it is, and all are named. A copy of a shard that was started
        since the cut-over, on another node or anew, has counted its own deletions only, and
        explains nothing.

        Args:
            present: the primaries of the destination, after the comparison.
        """
        unexplained = set()
        self.untold = []
        for number, gone in self.gone.items():
            primary, ends = present[int(number)], self.shards[int(number)]
            counted = primary.deletions - ends.deletions
            if primary.lineage != ends.lineage or counted < 0:
                self.untold.append(int(number))
            elif counted < gone:
                unexplained.add(int(number))
        self.differences += [
            each
            for each in self.gone_examples
            if each.shard in unexplained and each not in self.differences
        ]


@dataclass(frozen=True)
class Verification:
    """How far the comparison of a domain's documents is.

    Attributes:
        moment: before the writes stop, or after.
        indices: of each what was found.
    """

    moment: Moment
    indices: list[IndexComparison]

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing left to be compared."""
        return all(index.has_ended for index in self.indices)

    @property
    def documents(self) -> int:
        """How many were compared."""
        return sum(index.documents for index in self.indices)

    def raise_differences(self) -> None:
        """Raises VerificationFailed, naming indices and documents, if any differ."""
        differing = [index for index in self.indices if index.differences]
        if differing:
            named = "; ".join(
                f"{index.index}: {', '.join(map(str, index.differences))}"
                for index in differing[:10]
            )
            raise VerificationFailed(
                f"documents of {len(differing)} of {len(self.indices)} indices differ from the "
                f"source: {named}. What to do: {_REMEDIES[self.moment]}"
            )


_MASKED = (
    "where fields differ, see first that no role with field masking or field-level security reads "
    "either side: what it is shown must not be copied over what there is"
)
_REMEDIES: dict[Moment, str] = {
    "before": f"{_MASKED}; make sure that nothing writes to the destination, then start the "
    "migration again; the source is in service as before.",
    "after": "clients may have moved, so nothing is taken back: the source stays as it was at the "
    f"cut-over, frozen and readable; {_MASKED}; compare these documents there, and correct them "
    "at the destination.",
}


@indices.may_go()
def run(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    job: DomainJob,
    moment: Moment,
    selected: Sequence[Index],
    hold_seconds: float = _LONGEST_CALL_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Verification:
    """Compares documents by id, routing and text, until all are or the time is over.

    What is compared before isn't read again after, as long as both sides have the same sequence
    numbers there: whoever changes a document gives it another one. Indices that can't be compared
    are left out, and the outcome says why.

    Args:
        source: the domain.
        destination: where the indices are.
        records: of the migration, which say how far earlier calls came.
        job: the domain's; its `verification` is `sampled` or `full`.
        moment: which side clients may write to.
        selected: the indices. Before, only those that are caught up can be compared.
        hold_seconds: about how long to go on; the next call continues where this one stops.
        sleep: waits.

    Raises:
        Unavailable: where a cluster has trouble that may pass; then call again.
    """
    leave_at = time.monotonic() + hold_seconds
    domain = job.domain.name
    record = records.read(_name(domain, moment), default={"began_at": time.time()})
    earlier = {
        index.index: index
        for index in _comparisons(records.read(_name(domain, "before"), default={}))
        if moment == "after"
    }
    begun = {index.index: index for index in _comparisons(record)}
    # Before the writes stop, another round may have brought more.
    added = [index for index in selected if index.name not in begun]
    plan = begun | _planned(records, job, moment, added, earlier)
    at_source, at_destination = (primaries.look(each, plan) for each in (source, destination))
    here, there = (
        Side(cluster, Engine.of(cluster), primaries.nodes(found), sleep)
        for cluster, found in ((source, at_source), (destination, at_destination))
    )
    record["not_compared"] = _not_comparable(
        plan.keys(),
        Ways.of(records, domain).by_snapshot,
        {"source": (here, at_source), "destination": (there, at_destination)},
    )
    if moment == "after":
        record["not_compared"] |= {
            index.name: "nobody may look at its shards at the source, or that is too old"
            for index in selected
            if index.name not in plan
        }
    plan = {name: plan[name] for name in plan if name not in record["not_compared"]}
    if "documents_total" not in record:
        record["documents_total"] = sum(indices.count(destination, plan).values())
    done = Verification(moment, list(plan.values()))
    documents_before = done.documents
    for side in (here, there):
        refresh(side.client, plan)
    mapping_of = mappings.read(here, plan)
    with ThreadPoolExecutor(_SLICES_AT_ONCE) as pool, ThreadPoolExecutor(_SLICES_AT_ONCE) as second:
        comparisons = {
            name: Comparison(
                source=here,
                destination=there,
                index=name,
                moment=moment,
                shards=index.shards,
                with_source=_stores_documents(mapping_of[name]),
                equal=_equal(index, earlier.get(name), job),
                pool=second,
            )
            for name, index in plan.items()
        }

        def compare(work: tuple[IndexComparison, Slice]) -> Findings:
            index, part = work
            return Findings() if index.has_ended else comparisons[index.index].compare(part)

        work = chain.from_iterable(
            ((index, part) for part in _slices(index, earlier.get(name), job)[index.done :])
            for name, index in plan.items()
            if not index.has_ended
        )
        keep_at = time.monotonic() + _KEEP_EVERY_SECONDS
        for batch in batched(work, _SLICES_BETWEEN_LOOKS, strict=False):
            for (index, part), findings in zip(batch, pool.map(compare, batch), strict=True):
                if not index.has_ended:
                    index.add(part, findings)
            if time.monotonic() >= leave_at:
                break
            if time.monotonic() >= keep_at:
                _keep(records, domain, done, record)
                keep_at = time.monotonic() + _KEEP_EVERY_SECONDS
    values: dict[str, float] = {"DocumentsCompared": done.documents - documents_before}
    if done.has_ended:
        for name, found in primaries.look(destination, plan).items():
            plan[name].blame(found)
        values["DifferencesFound"] = sum(len(index.differences) for index in done.indices)
    _keep(records, domain, done, record)
    metrics.emit(values, migration_id=job.migration_id, domain=domain)
    return done


def outcome(records: Records, domain: str, moment: Moment) -> dict[str, Any]:
    """What the report says of the documents that were compared.

    Returns:
        `began_at` and `ended_at`, in seconds of the epoch and None where nothing was compared,
        of each of the `indices` what was compared and found, and why others were `not_compared`.
    """
    record = records.read(_name(domain, moment), default={})
    return {
        "began_at": record.get("began_at"),
        "ended_at": record.get("ended_at"),
        "indices": [_summary(index) for index in _comparisons(record)],
        "not_compared": record.get("not_compared", {}),
    }


def _summary(index: IndexComparison) -> dict[str, Any]:
    return {
        "index": index.index,
        "documents": index.documents,
        "slices": index.done,
        "slices_of": index.slices_of,
        "rewritten": index.rewritten,
        "deleted": sum(index.gone.values()) - index.deleted_or_lost,
        "deleted_or_lost": index.deleted_or_lost,
        "deleted_or_lost_examples": [
            each.id for each in index.gone_examples if each.shard in index.untold
        ],
        "differences": [str(each) for each in index.differences],
    }


def _not_comparable(
    names: Collection[str],
    by_snapshot: Mapping[str, str],
    sides: Mapping[str, tuple[Side, Collection[str]]],
) -> dict[str, str]:
    """Why the documents of some indices can't be compared, by their names.

    Args:
        names: of the indices.
        by_snapshot: why some of them weren't caught up.
        sides: the clusters by what they are called, and which of the indices they have.
    """
    reasons = {
        name: reason
        for name, reason in by_snapshot.items()
        if name in names and reason == qualification.ALTERED
    }
    for title, (side, present) in sides.items():
        for name, settings in indices.settings(side.client, present).items():
            if reason := qualification.unsearchable(settings, side.engine):
                reasons[name] = f"at the {title} {reason}"
        reasons |= {name: f"the {title} has it no more" for name in names if name not in present}
    return reasons


def _planned(
    records: Records,
    job: DomainJob,
    moment: Moment,
    selected: Sequence[Index],
    earlier: Mapping[str, IndexComparison],
) -> dict[str, IndexComparison]:
    domain = job.domain.name
    if moment == "after":
        ends_of = kept_ends(records, domain)
    else:
        ends_of = _bases(records, domain, [index.name for index in selected])
    plan = {}
    for index in selected:
        if ends := ends_of.get(index.name):
            before = earlier.get(index.name)
            operations = sum(each.source + 1 for each in ends)
            slice_width = before.width if before else width(operations, index.primary_store_bytes)
            slices_of = sum(1 for _ in cut(ends, slice_width))
            made = IndexComparison(index.name, ends, slice_width, 0, slices_of)
            made.slices = len(_slices(made, before, job))
            plan[index.name] = made
    return plan


def _bases(records: Records, domain: str, names: Sequence[str]) -> dict[str, list[Ends]]:
    """What a restore has brought for certain, which catching up hasn't touched yet."""
    return {
        stored.index: [
            Ends(
                base=shard.base,
                source=shard.base,
                destination=shard.base,
                deletions=0,
                lineage=shard.destination,
            )
            for shard in stored.shards
        ]
        for stored in marks.load(records, domain, names)
    }


def _slices(index: IndexComparison, earlier: IndexComparison | None, job: DomainJob) -> list[Slice]:
    """What is to be compared, and what was compared earlier."""
    slices = list(cut(index.shards, index.width))
    if job.verification == "full":
        return slices
    already = _compared(index, earlier, job)
    return sorted(already) + sample([part for part in slices if part not in already], index.index)


def _compared(
    index: IndexComparison, earlier: IndexComparison | None, job: DomainJob
) -> set[Slice]:
    """What was compared earlier, if both sides still number alike and it wasn't restored anew."""
    if earlier is None or _bases_of(earlier) != _bases_of(index):
        return set()
    return set(_slices(earlier, None, job)[: earlier.done])


def _equal(index: IndexComparison, earlier: IndexComparison | None, job: DomainJob) -> set[Slice]:
    undecided = earlier.undecided if earlier else ()
    return _compared(index, earlier, job).difference(undecided)


def _bases_of(index: IndexComparison) -> list[tuple[int, str]]:
    # A restore over an index leaves the index its identity, but gives each shard a new history.
    return [(ends.base, ends.lineage.history_uuid) for ends in index.shards]


def _stores_documents(mapping: Mapping[str, Any]) -> bool:
    return str(mapping.get("_source", {}).get("enabled", "true")).lower() != "false"


def _keep(records: Records, domain: str, done: Verification, record: Mapping[str, Any]) -> None:
    """Notes how far it is for the next call, and shows it to people."""
    now = time.time()
    indices = [asdict(index) for index in done.indices]
    records.write(_name(domain, done.moment), {**record, "ended_at": now, "indices": indices})
    seconds = now - record["began_at"]
    slices = sum(index.slices for index in done.indices)
    slices_done = sum(index.slices if index.has_ended else index.done for index in done.indices)
    progress.show(
        records,
        domain,
        f"documents compared: {done.moment}",
        ended=done.has_ended,
        elapsed_seconds=seconds,
        documents=done.documents,
        documents_total=record["documents_total"],
        documents_per_second=round(done.documents / seconds) if seconds else 0,
        slices_done=slices_done,
        slices=slices,
        remaining_seconds=(
            round(seconds * (slices - slices_done) / slices_done) if slices_done else None
        ),
    )


def _comparisons(record: Mapping[str, Any]) -> list[IndexComparison]:
    return [IndexComparison.of(index) for index in record.get("indices", [])]


def _name(domain: str, moment: Moment) -> str:
    return f"{domain}/documents-{moment}"
