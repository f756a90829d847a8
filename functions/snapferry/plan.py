"""The plan: what will become of each index, how long it takes, and what will be changed for it.

It is made before anything is changed, and making it changes nothing. What it reads, it reads as who
may change the security of a side, because the migration's own callers may get their rights later;
that they are there, or can be granted, is proven with the requests of `snapferry.security`.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opensearchpy import OpenSearch

from snapferry import (
    access,
    artifacts,
    capacity,
    catchup,
    index_policies,
    indices,
    kept_snapshot,
    listing,
    plan_page,
    rehearsal,
    repositories,
    restore_limits,
    restores,
    retention,
    security,
    snapshots,
    versions,
)
from snapferry.capacity import Capacity
from snapferry.engines import Engine
from snapferry.errors import AccessDenied, NotFound, RequestRefused, short_cause
from snapferry.events import Bus
from snapferry.indices import Index
from snapferry.journal import Journal, Place
from snapferry.ownership import Ownership
from snapferry.records import Records
from snapferry.request import Destination, DomainJob
from snapferry.verdicts import Candidate, Refusal, Target, Verdict, judge

# What a data node copies to or from a bucket: 80 MB/s for three, hundreds for thirty.
_BYTES_PER_SECOND_AND_NODE = 25_000_000
# Modes at whose end writes stop: the others only copy.
_STOPPING_WRITES = ("migrate", "plan")
# Modes that restore indices under their names: no name is in the way of a snapshot, nor of a
# rehearsal's copies.
_TAKING_NAMES = ("migrate", "plan", "restore_only")
_SHOWN_REJECTIONS = 10
# The name of the plan among the records, and of its summary in the table.
_PLAN = "plan"
_SUMMARY = "plan"
_DATA_STREAM = Refusal(
    "it is a data stream, whose backing indices aren't moved",
    "reindex it into an index of another name",
)
_COLD = Refusal(
    "it is in cold storage, which snapshots leave out",
    "move it to warm and on to hot storage: POST _cold/migration/_warm, then POST "
    "_ultrawarm/migration/<index>/_hot",
)


def plan_domain(
    source: artifacts.Side,
    destination: artifacts.Side,
    caller: str,
    bucket: access.BucketPermissions | None,
    records: Records,
    job: DomainJob,
) -> dict[str, int]:
    """Makes the plan of one domain, and stores it.

    Args:
        source: the domain.
        destination: the cluster that takes the indices.
        caller: the name of the destination's caller.
        bucket: None where the migration isn't to change its permissions.
        records: of the migration.
        job: the domain's.

    Returns:
        How many indices it would `restore`, `skip` and `reject`.

    Raises:
        AccessDenied: a right is missing and can't be granted.
        Conflict: somebody else's repository writes to the domain's path in the bucket.
        InvalidInput: nothing matches, or a name that was given isn't there.
    """
    changes = [
        *security.foresee_at_source(source.cluster, source.administrator, job),
        *security.foresee_at_destination(
            destination.cluster, destination.administrator, job, caller
        ),
        *access.foresee(bucket, job),
        *repositories.foresee(job),
        *snapshots.foresee(job),
        *retention.foresee(job),
    ]
    at_source, at_destination = source.administrator, destination.administrator
    repositories.refuse_other_writers(at_source, job)
    engine = max(versions.of_nodes(at_source))
    target = _target(at_destination, records, job)
    present = indices.list_all(at_source)
    elsewhere = dict.fromkeys(indices.data_streams(at_source), _DATA_STREAM)
    elsewhere |= dict.fromkeys(_cold_indices(at_source), _COLD)
    matched = indices.match(present.values(), job.domain.indices, elsewhere)
    refusals: dict[str, Refusal] = {}
    moved: list[Index] = []
    aliases: dict[str, Mapping[str, Any]] = {}
    aliases_at_source = indices.aliases(at_source)
    for candidate in _candidates(at_source, matched, aliases_at_source):
        if refusal := judge(candidate, engine, target):
            refusals[candidate.index.name] = refusal
        else:
            moved.append(candidate.index)
            aliases[candidate.index.name] = candidate.aliases
    refusals |= {
        name: refusal
        for name, refusal in elsewhere.items()
        if indices.is_wanted(name, job.domain.indices)
    }
    # Those that stay have a say in whose writes an alias takes.
    shared = {
        alias: named
        for alias, named in _by_alias(aliases_at_source).items()
        if any(index.name in named for index in moved)
    }
    last_snapshot = _by_last_snapshot(at_source, at_destination, moved, job)
    verdicts = [
        *(_restored(index, last_snapshot, job) for index in moved),
        *(
            Verdict(name, "reject", refusal.reason, refusal.remedy)
            for name, refusal in refusals.items()
        ),
        *(
            Verdict(name, "skip", "it is a system index, and those are never moved")
            for name in present
            if name.startswith(".") and indices.is_wanted(name, job.domain.indices)
        ),
    ]
    notes = list(_shared_aliases(_by_alias(aliases), target))
    if job.mode in _TAKING_NAMES:
        notes += index_policies.notes(at_destination, moved)
    if job.mode != "snapshot_only":
        changes += restore_limits.foresee(at_destination, job)
    if job.mode == "rehearse":
        changes += rehearsal.foresee(job, moved)
    elif job.mode != "snapshot_only":
        changes += artifacts.foresee(
            records,
            job,
            replace(source, cluster=at_source),
            replace(destination, cluster=at_destination),
        )
        names = [index.name for index in moved]
        changes += catchup.foresee_blocks(job.domain.name, names)
        changes += index_policies.foresee(at_source, job.domain.name, names)
    _keep(
        records,
        job,
        str(engine),
        capacity.data_nodes(at_source),
        target,
        verdicts,
        shared,
        moved,
        changes,
        notes,
    )
    return _count(verdicts)


def plan_restore(
    destination: OpenSearch, journal: Journal, records: Records, job: DomainJob
) -> dict[str, int]:
    """Makes the plan of a restore without its source, as `plan_domain` does, and stores it.

    The snapshot is read through the destination's repository, which therefore is registered before.

    Args:
        destination: the cluster that takes the indices, as its administrator.
        journal: of the migration; what it has changed by then is a part of the plan.
        records: of the migration.
        job: the domain's.

    Returns:
        How many indices it would `restore`, `skip` and `reject`.

    Raises:
        InvalidInput: there is no such snapshot, nothing in it matches, or a name isn't in it.
    """
    target = _target(destination, records, job)
    snapshot = kept_snapshot.find(destination, records, job)
    moved: list[Index] = []
    verdicts = [
        Verdict(index.name, "skip", "it is a system index, and those are never restored")
        for index in snapshot.indices
        if index.name.startswith(".") and indices.is_wanted(index.name, job.domain.indices)
    ]
    # Which engine created an index isn't known before it is restored: not a newer one.
    settings = {"index.version.created": snapshot.version_id}
    others = indices.some(set(snapshot.lacking.values()))
    place = f"the snapshot {snapshot.name}" + (f", unlike {others}," if snapshot.lacking else "")
    elsewhere = dict.fromkeys(snapshot.data_streams, _DATA_STREAM)
    for index in indices.match(snapshot.indices, job.domain.indices, elsewhere, place=place):
        if refusal := judge(Candidate(index, settings, {}, {}), snapshot.version, target):
            verdicts.append(Verdict(index.name, "reject", refusal.reason, refusal.remedy))
        else:
            moved.append(index)
            verdicts.append(_restored(index, {}, job))
    verdicts += [
        Verdict(name, "reject", refusal.reason, refusal.remedy)
        for name, refusal in elsewhere.items()
        if indices.is_wanted(name, job.domain.indices)
    ]
    changes = [
        *(change.place for change in journal.open_changes()),
        *restore_limits.foresee(destination, job),
    ]
    notes = [*index_policies.notes(destination, moved), *_aliases_at_risk(target)]
    if snapshot.lacking:
        notes.append(
            f"the snapshot {snapshot.name} is without {indices.some(snapshot.lacking)}, unlike "
            f"{others}: they were deleted, or it is a migration's last one, which holds only what "
            "wasn't caught up. To restore them, name another one in domains[].snapshot"
        )
    _keep(records, job, str(snapshot.version), 0, target, verdicts, {}, moved, changes, notes)
    return _count(verdicts)


def write(
    connect: Callable[[Destination], OpenSearch],
    records: Records,
    bus: Bus,
    jobs: Sequence[DomainJob],
    outcomes: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """Makes one plan of those of the domains, and stores it as JSON and as a page.

    Args:
        connect: makes a client of a destination, as its administrator.
        records: of the migration.
        bus: where is told that the plan is there.
        jobs: of all domains.
        outcomes: of each domain `domain` and `status`, and where that is `FAILED` why its plan
            couldn't be made, as `error` and `cause`.

    Returns:
        The keys of `plan` and `page`; how many indices it would `restore`, `skip` and `reject`; and
        where the migration can't go on, `error` and `cause`.
    """
    failed = {each["domain"]: each for each in outcomes if each["status"] == "FAILED"}
    domains = [
        {**records.read(_name(job.domain.name)), "domain": job.domain.name}
        for job in jobs
        if job.domain.name not in failed
    ]
    if jobs[0].mode in _TAKING_NAMES:
        _refuse_shared(domains)
    for domain in domains:
        records.write(_name(domain["domain"]), domain)
        verdicts = _verdicts(domain)
        listing.keep_left_out(records, domain["domain"], _names(verdicts, "reject"))
    targets = {
        job.destination.endpoint: job.destination for job in jobs if job.domain.name not in failed
    }
    rooms = {endpoint: capacity.read(connect(target)) for endpoint, target in targets.items()}
    verdicts = [verdict for domain in domains for verdict in _verdicts(domain)]
    restored = [verdict for verdict in verdicts if verdict.verdict == "restore"]
    plan: dict[str, Any] = {
        "migration_id": records.migration_id,
        "mode": jobs[0].mode,
        "destinations": [{"endpoint": name, **room.record()} for name, room in rooms.items()],
        **_count(verdicts),
        "primary_store_bytes": sum(verdict.primary_store_bytes for verdict in restored),
        **_estimate(domains, rooms, jobs[0]),
        "lacks": [] if jobs[0].mode == "snapshot_only" else list(_lacks(domains, rooms)),
        "changes": sorted({change for domain in domains for change in domain["changes"]}),
        "notes": sorted(
            {note for job in jobs for note in restore_limits.notes(job)}
            | {note for domain in domains for note in domain["notes"]}
        ),
        "domains": domains,
        "failed": list(failed.values()),
    }
    plan |= _objection(plan, jobs)
    key = records.write(_PLAN, plan)
    page = records.write_page(_PLAN, plan_page.render(plan))
    records.put(_SUMMARY, plan=plan_page.summary(plan), page=page)
    written = {"plan": key, "page": page} | {
        name: plan[name] for name in ("restore", "skip", "reject", "error", "cause") if name in plan
    }
    bus.tell("PlanReady", records.migration_id, **written)
    return written


def _keep(
    records: Records,
    job: DomainJob,
    version: str,
    data_nodes: int,
    target: Target,
    verdicts: Sequence[Verdict],
    aliases: Mapping[str, Mapping[str, Mapping[str, Any]]],
    moved: Sequence[Index],
    changes: Sequence[Place],
    notes: Iterable[str],
) -> None:
    """Stores the plan of a domain; `data_nodes` are those that copy to the bucket."""
    replaced = [target.present[index.name] for index in moved if index.name in target.owned]
    notes = [*notes, *_notes_of_earlier(job, target, replaced, moved)]
    plan = {
        "host": job.domain.host,
        "destination": job.destination.endpoint,
        "version": version,
        "data_nodes": data_nodes,
        "destination_version": str(target.version),
        "indices": [verdict.record() for verdict in verdicts],
        # Of each alias that something moved has, whether the source's indices take its writes; None
        # if they don't say.
        "aliases": {
            alias: {index: definition.get("is_write_index") for index, definition in named.items()}
            for alias, named in aliases.items()
        },
        "replaced_shards": sum(
            index.shards * (1 + index.replicas) for index in replaced if index.open
        ),
        "replaced_bytes": sum(
            index.primary_store_bytes * (1 + index.replicas) for index in replaced
        ),
        "changes": [str(place) for place in changes],
        "notes": [f"{job.domain.name}: {note}" for note in notes],
    }
    records.write(_name(job.domain.name), plan)


def _notes_of_earlier(
    job: DomainJob, target: Target, replaced: Sequence[Index], moved: Sequence[Index]
) -> Iterator[str]:
    """Says what becomes of the indices that earlier migrations have left at the destination."""
    has = f"{job.destination.endpoint} has"
    if replaced:
        names = ", ".join(index.name for index in replaced)
        yield (
            f"{has} {names} of an earlier migration: what was written there since is written over; "
            "whoever wants to keep it finds how in docs/roll-back.md"
        )
    if left_behind := restores.left_behind(target.owned, job, moved):
        yield (
            f"{has} {', '.join(sorted(left_behind))} of an earlier migration, which this one "
            "doesn't move: what is there stays, and no migration will delete it or write over it"
        )


def summary(records: Records) -> dict[str, str]:
    """What the `plan` is in a few words, and the key of its `page`; empty where there is none."""
    item = records.item(_SUMMARY) or {}
    return {"plan": item.get("plan", ""), "page": item.get("page", "")}


def notes(records: Records) -> list[str]:
    """What else is to be known, as the plan says; nothing where there is none."""
    found: list[str] = records.read(_PLAN, default={}).get("notes", [])
    return found


def destination_of(records: Records, domain: str) -> str | None:
    """The address of the cluster that takes a domain's indices; None before its plan is made."""
    address: str | None = records.read(_name(domain), default={}).get("destination")
    return address


def _target(destination: OpenSearch, records: Records, job: DomainJob) -> Target:
    present = indices.list_all(destination) if job.mode in _TAKING_NAMES else {}
    nodes = versions.of_nodes(destination)
    rows = destination.cat.plugins(format="json", h="name,component")
    nodes_with: dict[str, int] = defaultdict(int)
    for row in rows:
        nodes_with[row["component"]] += 1
    aliases = indices.aliases(destination)
    return Target(
        version=min(nodes),
        plugins={plugin for plugin, count in nodes_with.items() if count == len(nodes)},
        present=present,
        owned=Ownership(records, job).find(destination, present),
        aliases=_by_alias({name: each for name, each in aliases.items() if name in present}),
        data_nodes=capacity.data_nodes(destination) if job.mode in _TAKING_NAMES else 0,
        replicas=job.domain.replicas,
    )


def _by_alias(aliases: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The definitions of aliases by alias and index, from those by index and alias."""
    turned: dict[str, dict[str, Any]] = defaultdict(dict)
    for index, definitions in aliases.items():
        for alias, definition in definitions.items():
            turned[alias][index] = definition
    return turned


def _candidates(
    source: OpenSearch, matched: Sequence[Index], aliases: Mapping[str, Mapping[str, Any]]
) -> Iterator[Candidate]:
    parameters = Engine.of(source).mapping_parameters
    by_name = {index.name: index for index in matched}
    # In pieces, because the mappings of many indices are large.
    for path in indices.paths(by_name):
        settings = indices.settings(source, path.split(","))
        mappings = source.indices.get_mapping(index=path, params=parameters)
        for name, answer in mappings.items():
            yield Candidate(
                by_name[name], settings[name], answer["mappings"], aliases.get(name, {})
            )


def _cold_indices(source: OpenSearch) -> Iterator[str]:
    """The names of indices in Amazon's cold storage, which the cluster doesn't list.

    Source: https://docs.aws.amazon.com/opensearch-service/latest/developerguide/cold-storage.html
    """
    page: dict[str, Any] = {}
    # Where there is no such storage, the request is refused or unknown.
    with contextlib.suppress(AccessDenied, NotFound, RequestRefused):
        while True:
            answer = source.transport.perform_request("GET", "/_cold/indices/_search", body=page)
            yield from (index["index"] for index in answer["indices"])
            if not answer["indices"] or not answer.get("pagination_id"):
                return
            page = {"pagination_id": answer["pagination_id"]}


def _by_last_snapshot(
    source: OpenSearch, destination: OpenSearch, moved: Sequence[Index], job: DomainJob
) -> dict[str, str]:
    """Why indices go by a last snapshot at the cut-over, by name."""
    if job.mode not in _STOPPING_WRITES:
        return {}
    if not job.cutover.catch_up:
        return {index.name: "cutover.catch_up is false" for index in moved}
    return catchup.foresee(source, destination, moved)


def _aliases_at_risk(target: Target) -> Iterator[str]:
    """Says which aliases of the destination must not come with an index of a snapshot.

    A snapshot doesn't say which aliases it has before it is restored.
    """
    at_risk = [
        alias
        for alias in sorted(target.aliases)
        if not alias.startswith(".") and target.tacit_write_index(alias)
    ]
    if at_risk:
        yield (
            "indices are restored with their aliases, and a snapshot doesn't say before which "
            "these are. Where the destination has an alias for a single index, writes by it would "
            "go to the restored index, or nowhere, as soon as that has the alias, too: set "
            "is_write_index before, to true where clients write, to false where nobody does, of "
            f"{indices.some(at_risk)}"
        )


def _shared_aliases(
    moved: Mapping[str, Mapping[str, Mapping[str, Any]]], target: Target
) -> Iterator[str]:
    """Says of aliases, which are given by index, that the destination has others by their names."""
    for alias, ours in sorted(moved.items()):
        if theirs := target.others(alias):
            writers = [
                index
                for index, definition in [*ours.items(), *theirs.items()]
                if definition.get("is_write_index")
            ]
            written = (
                f"what is written through it goes to {', '.join(writers)}"
                if writers
                else "nothing can be written through it"
            )
            yield (
                f"the alias {alias} will stand for {', '.join(ours)} and for what the destination "
                f"has by this name: {', '.join(theirs)}; {written}"
            )


def _restored(index: Index, last_snapshot: Mapping[str, str], job: DomainJob) -> Verdict:
    replicas = index.replicas if job.domain.replicas is None else job.domain.replicas
    return Verdict(
        index.name,
        "restore",
        last_snapshot=last_snapshot.get(index.name, ""),
        shards=index.shards,
        replicas=replicas,
        primary_store_bytes=index.primary_store_bytes,
    )


def _refuse_shared(domains: Sequence[dict[str, Any]]) -> None:
    """Judges the names that several domains give one destination, as those that it has already."""
    for _, sharing in _by_destination(domains):
        _refuse_shared_names(sharing)


def _refuse_shared_names(domains: Sequence[dict[str, Any]]) -> None:
    owners: dict[str, list[str]] = defaultdict(list)
    for domain in domains:
        for name in _names(_verdicts(domain), "restore"):
            owners[name].append(domain["domain"])
    holders = _holders(domains)
    for domain in domains:
        refused: dict[str, Refusal] = {}
        for index, clash in _clashes(domain, owners, holders):
            refused.setdefault(index, clash)
        domain["indices"] = [
            Verdict(verdict.index, "reject", refusal.reason, refusal.remedy).record()
            if (refusal := refused.get(verdict.index)) and verdict.verdict == "restore"
            else verdict.record()
            for verdict in _verdicts(domain)
        ]
    for alias, of_domains in sorted(_holders(domains).items()):
        if len(of_domains) > 1:
            note = f"the alias {alias} will stand for indices of {', '.join(of_domains)}"
            domains[0]["notes"] = [*domains[0]["notes"], note]


def _holders(domains: Iterable[dict[str, Any]]) -> dict[str, dict[str, dict[str, bool | None]]]:
    """By alias and domain the indices that are moved with it, and whether each takes its writes."""
    holders: dict[str, dict[str, dict[str, bool | None]]] = defaultdict(dict)
    for domain in domains:
        restored = set(_names(_verdicts(domain), "restore"))
        for alias, named in domain["aliases"].items():
            if moved := {index: named[index] for index in named if index in restored}:
                holders[alias][domain["domain"]] = moved
    return holders


def _clashes(
    plan: Mapping[str, Any],
    owners: Mapping[str, Sequence[str]],
    holders: Mapping[str, Mapping[str, Mapping[str, bool | None]]],
) -> Iterator[tuple[str, Refusal]]:
    """Says which indices of a domain others are in the way of.

    Args:
        plan: the domain's.
        owners: the domains by the names of the indices that they give the same destination.
        holders: of the aliases of these, see `_holders`.
    """
    domain = plan["domain"]
    for name, domains in owners.items():
        if domain in domains and len(domains) > 1:
            yield (
                name,
                Refusal(
                    f"the domains {', '.join(domains)} all have an index of this name",
                    "put it into domains[].indices.exclude of all but one of them",
                ),
            )
    for alias, of_domains in holders.items():
        named = of_domains.get(domain, {})
        owner = next((each for each in owners.get(alias, ()) if each != domain), None)
        writers = [each for each, found in of_domains.items() if True in found.values()]
        for index, writes in named.items():
            if owner:
                yield (
                    index,
                    Refusal(
                        f"the domain {owner} has an index named as its alias {alias}",
                        "remove the alias, or put that index into domains[].indices.exclude",
                    ),
                )
            if writes and len(writers) > 1:
                yield (
                    index,
                    Refusal(
                        f"its alias {alias} would have several write indices: "
                        f"{', '.join(writers)} have one each",
                        "take is_write_index off all but one of them",
                    ),
                )
            # The only index of an alias takes its writes, unless it says otherwise.
            if len(of_domains) > 1 and len(plan["aliases"][alias]) == 1 and writes is None:
                diverted = f"go to that of {writers[0]}" if writers else "be refused"
                yield (
                    index,
                    Refusal(
                        f"writes to it by its alias {alias} would {diverted}: "
                        f"{', '.join(of_domains)} all have that alias",
                        "set is_write_index of the alias: to true where clients write through it, "
                        "in one domain at most, and to false where nobody does",
                    ),
                )


def _by_destination(
    domains: Iterable[dict[str, Any]],
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The plans of the domains that share a destination, with its endpoint."""
    sharing: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for domain in domains:
        sharing[domain["destination"]].append(domain)
    yield from sharing.items()


def _lacks(
    domains: Iterable[dict[str, Any]], rooms: Mapping[str, Capacity]
) -> Iterator[dict[str, str]]:
    """What each destination hasn't enough of for all domains that share it."""
    for endpoint, sharing in _by_destination(domains):
        restored = [
            verdict
            for domain in sharing
            for verdict in _verdicts(domain)
            if verdict.verdict == "restore"
        ]
        for lack in rooms[endpoint].lacks(
            sum(verdict.all_shards for verdict in restored)
            - sum(domain["replaced_shards"] for domain in sharing),
            sum(verdict.all_bytes for verdict in restored)
            - sum(domain["replaced_bytes"] for domain in sharing),
        ):
            yield {"destination": endpoint, "reason": lack.reason, "remedy": lack.remedy}


def _estimate(
    domains: Sequence[dict[str, Any]], rooms: Mapping[str, Capacity], job: DomainJob
) -> dict[str, int]:
    """How long the first copy will take, and how long writes will stop, if so; both roughly."""

    def copy_seconds(verdicts: Sequence[Verdict], domain: dict[str, Any]) -> float:
        size_bytes = sum(verdict.primary_store_bytes for verdict in verdicts)
        nodes: list[int] = [domain["data_nodes"]]
        if job.mode != "snapshot_only":
            nodes.append(rooms[domain["destination"]].data_nodes)
        return sum(size_bytes / (each * _BYTES_PER_SECOND_AND_NODE) for each in nodes if each)

    whole = [copy_seconds(_verdicts(domain), domain) for domain in domains]
    estimate = {"copy_seconds": round(sum(whole))}
    if job.mode not in _STOPPING_WRITES:
        return estimate
    last = [
        copy_seconds([verdict for verdict in _verdicts(domain) if verdict.last_snapshot], domain)
        for domain in domains
    ]
    wanted_seconds = job.cutover.write_stop_seconds
    return estimate | {"write_stop_seconds": round(wanted_seconds + max(last, default=0))}


def _objection(plan: Mapping[str, Any], jobs: Sequence[DomainJob]) -> dict[str, str]:
    """Why the migration can't go on, as `error` and `cause`; nothing where it can."""
    failed = plan["failed"]
    if len(jobs) == 1 and failed:
        return {"error": failed[0]["error"], "cause": failed[0]["cause"]}
    named = {(job.domain.name, pattern) for job in jobs for pattern in job.domain.indices.include}
    reasons = [short_cause(each["domain"], each["cause"]) for each in failed]
    reasons += [
        f"{lack['destination']}: {lack['reason']}. What to do: {lack['remedy']}"
        for lack in plan["lacks"]
    ]
    rejected = [
        f"{domain['domain']}: {verdict.index}: {verdict.reason}. What to do: {verdict.remedy}"
        for domain in plan["domains"]
        for verdict in _verdicts(domain)
        if verdict.verdict == "reject"
        and (jobs[0].rejected == "fail" or (domain["domain"], verdict.index) in named)
    ]
    reasons += rejected[:_SHOWN_REJECTIONS]
    reasons += [
        f"{domain['domain']}: nothing of what matches can be moved"
        for domain in plan["domains"]
        if not _names(_verdicts(domain), "restore")
    ]
    if not reasons:
        return {}
    more = len(rejected) - _SHOWN_REJECTIONS
    reasons += [f"and {more} more indices, which the plan names"] if more > 0 else []
    remedy = (
        "Or put the indices into domains[].indices.exclude; give rejected: leave_out to leave out "
        "all that match a pattern and can't be moved"
    )
    cause = "; ".join(reasons) + (f". {remedy}" if rejected else "")
    # Before a restore without its source, what its plan is made from had to be made readable.
    changed = "No index was restored" if jobs[0].mode == "restore_only" else "Nothing was changed"
    return {"error": "PlanRejected", "cause": f"{cause}. {changed}."}


def _verdicts(plan: Mapping[str, Any]) -> list[Verdict]:
    return [Verdict(**record) for record in plan["indices"]]


def _names(verdicts: Sequence[Verdict], verdict: str) -> list[str]:
    return [each.index for each in verdicts if each.verdict == verdict]


def _count(verdicts: Sequence[Verdict]) -> dict[str, int]:
    return {verdict: len(_names(verdicts, verdict)) for verdict in ("restore", "skip", "reject")}


def _name(domain: str) -> str:
    return f"{domain}/{_PLAN}"
