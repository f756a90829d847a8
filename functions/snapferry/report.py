"""The report of a migration: what was moved, how it is proven, how long it took, what is left."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from snapferry import (
    artifacts,
    cutover,
    gates,
    indices,
    listing,
    metrics,
    plan,
    report_page,
    retention,
    rounds,
    verification,
)
from snapferry.errors import MigrationEnded, SnapshotSkipped, short_cause
from snapferry.events import Bus, Event
from snapferry.journal import Journal, Place
from snapferry.records import Records
from snapferry.topic import Topic

_EVENTS: Mapping[str, Event] = {
    "SUCCEEDED": "MigrationSucceeded",
    "SKIPPED": "SnapshotSkipped",
    "FAILED": "MigrationFailed",
}


def write(
    records: Records,
    bus: Bus,
    topic: Topic,
    domains: Sequence[dict[str, Any]],
    failure: dict[str, str] | None,
    given_back: dict[str, Any] | None,
    started_at: str,
) -> dict[str, Any]:
    """Gathers the results of the domains, stores the report, and tells of the outcome.

    It is stored twice: as JSON for programs, and beside it as a page for people.

    Args:
        records: of the migration.
        bus: where the outcome is told to programs.
        topic: where it is told to people, but for a snapshot that a series waits for.
        domains: what each `migrate_domain` ended with: `domain`, `status` (`SUCCEEDED` or
            `FAILED`), and either its measurements or `error` and `cause`.
        failure: `error` and `cause` of what ended the migration as a whole; None where it came to
            its end.
        given_back: what the roll-back said: how many changes, and which were left to others; None
            where it didn't come to its end.
        started_at: when the migration was started, as ISO 8601.

    Returns:
        `status` (`SUCCEEDED`, `FAILED`, or `SKIPPED` of a series' snapshot that wasn't taken),
        `report` (its object key), and where it isn't a success `error` and `cause`.
    """
    failure = failure or _failure_of(domains)
    outcome = {"status": _status(failure), **(failure or {})}
    if failure and failure["error"] == MigrationEnded.__name__:
        # An execution that was redriven: the report says what it had failed for before.
        return outcome
    for domain in domains:
        if domain["status"] == "SUCCEEDED":
            cutover.learn(records, domain["domain"])
    started = datetime.fromisoformat(started_at).timestamp()
    ended = datetime.now(UTC)
    moved = [_domain(records, domain) for domain in domains]
    changes = _changes(records)
    report = {
        "migration_id": records.migration_id,
        "started_at": started_at,
        "ended_at": ended.isoformat(timespec="seconds"),
        "seconds": round(ended.timestamp() - started, 1),
        **outcome,
        "to_do": list(_to_do(outcome, moved, changes)),
        "notes": plan.notes(records),
        "given_back": given_back,
        "changes": changes,
        "domains": moved,
    }
    succeeded = sum(domain["status"] == "SUCCEEDED" for domain in domains)
    metrics.emit(
        {"DomainsSucceeded": succeeded, "DomainsFailed": len(domains) - succeeded},
        migration_id=records.migration_id,
    )
    page = records.write_page("report", report_page.render(report))
    key = records.write("report", report)
    bus.tell(
        _EVENTS[outcome["status"]],
        records.migration_id,
        **(failure or {}),
        report=key,
        domains=len(domains),
    )
    if outcome["status"] == "SKIPPED":
        metrics.emit({"SnapshotsSkipped": 1}, migration_id=records.migration_id)
    else:
        _tell_people(topic, records, page, report)
    return outcome | {"report": key}


def _tell_people(topic: Topic, records: Records, page: str, report: Mapping[str, Any]) -> None:
    migration_id = records.migration_id
    see = (
        f"  {topic.command('report', migration_id)}\n"
        f"Its page: s3://{records.bucket}/{page}\n"
        f"Its execution: {topic.execution_page(migration_id)}\n"
    )
    if report["status"] == "SUCCEEDED":
        topic.tell(
            f"Snapferry has succeeded: {migration_id}",
            f"The migration {migration_id} has succeeded. Everything that it changed is given "
            "back. What was moved, how long it took, and what is left to do:\n" + see,
        )
        return
    topic.tell(
        f"Snapferry has failed: {migration_id}",
        f"The migration {migration_id} has failed: {report['error']}. {report['cause']}\n\n"
        f"What to do: {_way_out(report)}\n"
        "What it has changed, and what was given back:\n"
        f"  {topic.command('roll-back', migration_id)}\n" + see,
    )


def _way_out(report: Mapping[str, Any]) -> str:
    """What people do about a failure, in words."""
    statuses = {domain["status"] for domain in report["domains"]}
    # What was changed couldn't be given back.
    if statuses == {"SUCCEEDED"}:
        return (
            "what was wanted is done; don't start it anew. Remove the cause, then give back what "
            "is left with the command below."
        )
    if any(change["state"] == "kept" for change in report["changes"]):
        return (
            "clients may write to the destination by now, so the source stays blocked. Find out "
            'whether they do, before anything else: docs/roll-back.md, "After the point of no '
            'return".'
        )
    of_whom = " with the domains that failed" if report["error"] == "DomainsFailed" else ""
    return (
        f"docs/recovery.md says it for each error. Then start a migration anew{of_whom}; it goes "
        "on with the indices that were restored."
    )


def _status(failure: Mapping[str, str] | None) -> str:
    """`SUCCEEDED`, `FAILED`, or `SKIPPED` where a series waits for its next snapshot."""
    if failure is None:
        return "SUCCEEDED"
    return "SKIPPED" if failure["error"] == SnapshotSkipped.__name__ else "FAILED"


def _failure_of(domains: Sequence[Mapping[str, Any]]) -> dict[str, str] | None:
    """The failure of the only domain, or all of them in few words."""
    failed = [domain for domain in domains if domain["status"] != "SUCCEEDED"]
    if not failed:
        return None
    if len(domains) == 1:
        return {"error": failed[0]["error"], "cause": failed[0]["cause"]}
    causes = "; ".join(short_cause(domain["domain"], domain["cause"]) for domain in failed)
    return {
        "error": "DomainsFailed",
        "cause": f"{len(failed)} of {len(domains)} domains failed. {causes}",
    }


def _domain(records: Records, domain: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a domain: what it ended with, and what its records say."""
    name = domain["domain"]
    documents = {
        moment: verification.outcome(records, name, moment) for moment in verification.MOMENTS
    }
    whole = {
        **domain,
        "destination": plan.destination_of(records, name),
        "rounds": rounds.copied(records, name),
        "catch_up": cutover.outcome(records, name),
        "verification": verification.kept_verdicts(records, name),
        "documents_compared": documents,
        "artifacts": [asdict(verdict) for verdict in artifacts.verdicts(records, name)],
        "expired_snapshots": retention.deleted(records, name),
    }
    return whole | {
        "timeline": sorted(_timeline(records, whole), key=lambda phase: phase["began_at"]),
        "index_table": _index_table(records, whole),
    }


def _timeline(records: Records, domain: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The phases of a domain, each with `began_at` and `ended_at` in seconds of the epoch."""
    for copied in domain["rounds"]:
        for phase in ("snapshot", "restore"):
            if phase in copied:
                took = copied[phase]
                yield _phase(
                    f"round {copied['round']}: {phase}",
                    took["ended_at"] - took["seconds"],
                    took["ended_at"],
                )
    for caught_up in domain["catch_up"]["rounds"]:
        yield _phase(
            f"catching up: {caught_up['phase']}", caught_up["began_at"], caught_up["ended_at"]
        )
    for moment, compared in domain["documents_compared"].items():
        if compared["began_at"]:
            yield _phase(
                f"documents compared: {moment}", compared["began_at"], compared["ended_at"]
            )
    for gate in gates.announced(records, domain["domain"]):
        if "answered_at" in gate:
            yield _phase(
                f"gate: {gate['gate'].replace('_', ' ')}",
                float(gate["announced_at"]),
                float(gate["answered_at"]),
            )
    if "write_stop" in domain:
        stop = domain["write_stop"]
        yield _phase("write stop", stop["stopped_at"], stop["stopped_at"] + stop["seconds"])


def _phase(name: str, began_at: float, ended_at: float) -> dict[str, Any]:
    return {"phase": name, "began_at": round(began_at, 1), "ended_at": round(ended_at, 1)}


def _index_table(records: Records, domain: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each index of the last round."""
    name, catch_up = domain["domain"], domain["catch_up"]
    verdicts = {verdict["index"]: verdict for verdict in domain["verification"]}
    compared = {
        moment: {index["index"]: index for index in found["indices"]}
        for moment, found in domain["documents_compared"].items()
    }
    number = rounds.last(records, name)
    rows = []
    for index in listing.selected(records, name, number) if number else ():
        of_index = [found.get(index.name, {}) for found in compared.values()]
        verdict = verdicts.get(index.name, {})
        rows.append(
            {
                "index": index.name,
                "primary_store_bytes": index.primary_store_bytes,
                "shards": index.shards,
                "source_documents": verdict.get("source_documents"),
                "destination_documents": verdict.get("destination_documents"),
                "health": verdict.get("health"),
                "way": _way(index.name, domain),
                "reason": catch_up["by_snapshot"].get(index.name),
                **{
                    f"compared_{moment}": found.get(index.name, {}).get("documents", 0)
                    for moment, found in compared.items()
                },
                "written_since": sum(
                    found.get("rewritten", 0) + found.get("deleted", 0) for found in of_index
                ),
                "faults": [
                    *verdict.get("faults", []),
                    *(each for found in of_index for each in found.get("differences", [])),
                ],
            }
        )
    return rows


def _way(index: str, domain: Mapping[str, Any]) -> str:
    """By which way an index came to the destination, or how far it came."""
    if "restored_from" in domain:
        return f"snapshot {domain['restored_from']}"
    if index in domain["catch_up"]["caught_up"]:
        return "caught up"
    copied = domain["rounds"]
    if not any("restore" in each for each in copied):
        return "snapshot" if copied else "-"
    is_last = copied[-1].get("final") and "restore" in copied[-1]
    return "last snapshot" if is_last else "restored"


def _changes(records: Records) -> list[dict[str, Any]]:
    """What was changed in the outside world, and what became of it, in the order of changes."""
    return [
        {**asdict(change.place), "state": change.state, "note": change.note}
        for change in Journal(records.table, records.migration_id).changes()
    ]


def _to_do(
    outcome: Mapping[str, Any],
    domains: Iterable[Mapping[str, Any]],
    changes: Iterable[Mapping[str, Any]],
) -> Iterator[str]:
    """What people still have to do, the most urgent first."""
    if outcome["status"] == "FAILED":
        yield f"Look at what failed: {outcome['cause']}"
    for change in changes:
        if change["state"] not in ("given_back", "handed_over"):
            place = Place(change["side"], change["kind"], change["key"])
            yield f"Decide about what was left: {change['note'] or place}"
    for domain in domains:
        after = domain["documents_compared"]["after"]
        reasons: dict[str, list[str]] = defaultdict(list)
        for index, reason in after["not_compared"].items():
            reasons[reason].append(index)
        for reason, not_compared in reasons.items():
            yield (
                f"Look at {indices.some(not_compared)} of {domain['domain']}, whose documents "
                f"weren't compared after the clients had moved: {reason}"
            )
        for compared in after["indices"]:
            if compared["deleted_or_lost"]:
                examples = ", ".join(compared["deleted_or_lost_examples"])
                yield (
                    f"See whether clients have deleted {compared['deleted_or_lost']} documents of "
                    f"{compared['index']} of {domain['domain']}"
                    f"{f', such as {examples}' if examples else ''}: the destination lacks them, "
                    "and it can't be told, since their shards have moved or were restarted after "
                    "the cut-over and count deletions anew."
                )
        for artifact in domain["artifacts"]:
            if artifact["verdict"] in ("conflict", "cannot"):
                yield (
                    f"Bring {artifact['kind']} {artifact['name']} of {domain['domain']} over by "
                    f"hand: {artifact['reason']}"
                )
        for index in domain["catch_up"]["late_indices"]:
            yield (
                f"See to {index} of {domain['domain']}: a client made it or wrote to it at the "
                "source after the hand-over, and nothing moved that. What is new goes by a "
                "migration of its own; what was moved before has to be brought document by "
                "document."
            )
        if any(artifact["kind"].startswith("saved ") for artifact in domain["artifacts"]):
            yield (
                f"Have everybody who has a private tenant in the Dashboards of {domain['domain']} "
                "export what is in it there and import it at the destination: nobody else can."
            )
        if "restored_from" in domain:
            yield (
                f"Compare {domain['domain']} with what you know of it: it was restored from the "
                f"snapshot {domain['restored_from']} without its source, so that shards and "
                "documents were counted at the destination alone."
            )
        if "write_stop" in domain:
            yield (
                f"See that no client has the address of {domain['domain']} any more: it takes "
                "writes again, and nothing moves them."
            )
