"""The report of a migration: what was moved, how long it took, what went wrong."""

from collections.abc import Sequence
from typing import Any

from snapferry import cutover, rounds
from snapferry.records import Records

# A hundred of them stay below the 32,768 characters of a Fail state's Cause.
_LONGEST_CAUSE = 300


def write(
    records: Records,
    domains: Sequence[dict[str, Any]],
    given_back: dict[str, Any],
    started_at: str,
) -> dict[str, Any]:
    """Gathers the results of the domains, stores the report, and gives back the outcome.

    Args:
        records: of the migration.
        domains: what each `migrate_domain` ended with: `domain`, `status` (`SUCCEEDED` or
            `FAILED`), and either its measurements or `error` and `cause`.
        given_back: what the roll-back said: how many changes, and which were left to others.
        started_at: when the migration was started, as ISO 8601.

    Returns:
        `status`, `report` (its object key), and of a failure `error` and `cause`.
    """
    failed = [domain for domain in domains if domain["status"] != "SUCCEEDED"]
    outcome: dict[str, Any] = {"status": "FAILED" if failed else "SUCCEEDED"}
    if len(domains) == 1 and failed:
        outcome |= {"error": failed[0]["error"], "cause": failed[0]["cause"]}
    elif failed:
        causes = "; ".join(
            f"{domain['domain']}: {domain['cause']}"[:_LONGEST_CAUSE] for domain in failed
        )
        outcome |= {
            "error": "DomainsFailed",
            "cause": f"{len(failed)} of {len(domains)} domains failed. {causes}",
        }
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
                "verification": records.read(f"{domain['domain']}/verification", default=[]),
            }
            for domain in domains
        ],
    }
    return outcome | {"report": records.write("report", report)}
