"""The report of a migration: what was moved, how long it took, what went wrong."""

from collections.abc import Sequence
from typing import Any

from snapferry import cutover, rounds
from snapferry.errors import MigrationEnded
from snapferry.events import Bus
from snapferry.records import Records

# A hundred of them stay below the 32,768 characters of a Fail state's Cause.
_LONGEST_CAUSE = 300


def write(
    records: Records,
    bus: Bus,
    domains: Sequence[dict[str, Any]],
    failure: dict[str, str] | None,
    given_back: dict[str, Any] | None,
    started_at: str,
) -> dict[str, Any]:
    """Gathers the results of the domains, stores the report, and tells of the outcome.

    Args:
        records: of the migration.
        bus: where the outcome is told.
        domains: what each `migrate_domain` ended with: `domain`, `status` (`SUCCEEDED` or
            `FAILED`), and either its measurements or `error` and `cause`.
        failure: `error` and `cause` of what ended the migration as a whole; None where it came to
            its end.
        given_back: what the roll-back said: how many changes, and which were left to others; None
            where it didn't come to its end.
        started_at: when the migration was started, as ISO 8601.

    Returns:
        `status`, `report` (its object key), and of a failure `error` and `cause`.
    """
    failure = failure or _failure_of(domains)
    outcome = {"status": "FAILED", **failure} if failure else {"status": "SUCCEEDED"}
    if failure and failure["error"] == MigrationEnded.__name__:
        # An execution that was redriven: the report says what it had failed for before.
        return outcome
    for domain in domains:
        if domain["status"] == "SUCCEEDED":
            cutover.learn(records, domain["domain"])
    report = {
        "migration_id": records.migration_id,
        "started_at": started_at,
        **outcome,
        "given_back": given_back,
        "domains": [
            domain
            | {
                "rounds": rounds.copied(records, domain["domain"]),
                "catch_up": cutover.outcome(records, domain["domain"]),
                "artifacts": records.read(f"{domain['domain']}/artifacts", default=[]),
                "verification": records.read(f"{domain['domain']}/verification", default=[]),
            }
            for domain in domains
        ],
    }
    key = records.write("report", report)
    bus.tell(
        "MigrationFailed" if failure else "MigrationSucceeded",
        records.migration_id,
        **(failure or {}),
        report=key,
        domains=len(domains),
    )
    return outcome | {"report": key}


def _failure_of(domains: Sequence[dict[str, Any]]) -> dict[str, str] | None:
    """The failure of the only domain, or all of them in few words."""
    failed = [domain for domain in domains if domain["status"] != "SUCCEEDED"]
    if not failed:
        return None
    if len(domains) == 1:
        return {"error": failed[0]["error"], "cause": failed[0]["cause"]}
    causes = "; ".join(
        f"{domain['domain']}: {domain['cause']}"[:_LONGEST_CAUSE] for domain in failed
    )
    return {
        "error": "DomainsFailed",
        "cause": f"{len(failed)} of {len(domains)} domains failed. {causes}",
    }
