"""Gates: points at which a person has to say that the migration may go on."""

import time
from collections.abc import Iterator
from typing import Any

from snapferry import cutover, indices, plan
from snapferry.events import Bus
from snapferry.prediction import Tally
from snapferry.records import Records
from snapferry.request import DomainJob, Gate
from snapferry.topic import Topic

ALL_DOMAINS = "all domains"
"""Stands for the domain of a gate at which the whole migration waits."""
RECORDS = "gate#"
"""What the records of gates in the table begin with."""

_REJECTIONS: dict[Gate, str] = {
    "plan": "Give up, and have everything given back",
    "stop_writes": "Give up, and have everything given back",
    "clients_moved": "Give up: the source stays blocked, everything else is given back",
}


def announce(
    records: Records,
    topic: Topic,
    bus: Bus,
    job: DomainJob,
    gate: Gate,
    token: str,
) -> None:
    """Stores an open gate with its task token, and tells people of it.

    The message holds no token and no link that would answer the gate: only an authenticated call
    to Step Functions does.

    Args:
        records: of the migration.
        topic: where people listen.
        bus: where programs listen.
        job: the domain that waits; any one of those that wait for the plan.
        gate: which gate.
        token: the task token that answers it.
    """
    waiting = ALL_DOMAINS if gate == "plan" else job.domain.name
    prompt = " ".join(sentence for sentence in _prompt(records, topic, job, gate) if sentence)
    deadline = int(time.time()) + job.cutover.gate_deadline_seconds
    records.put(
        record(waiting, gate),
        gate=gate,
        domain=waiting,
        prompt=prompt,
        token=token,
        announced_at=time.time(),
        deadline=deadline,
        # By this name nobody who may answer gates can change another state in the table.
        gate_state="open",
    )
    whose = [] if waiting == ALL_DOMAINS else ["--domain", waiting]
    answer = ["approve", job.migration_id, gate, *whose]
    topic.tell(
        f"Snapferry waits: {gate.replace('_', ' ')} ({waiting})",
        f"{prompt}\n\nMigration: {job.migration_id}\nDomain: {waiting}\nGate: {gate}\n"
        f"Answer until: {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(deadline))}\n\n"
        f"Go on:\n  {topic.command(*answer)}\n"
        f"{_REJECTIONS[gate]}:\n"
        f"  {topic.command(*answer, '--reject', 'your reason')}\n"
        f"See how far it is:\n  {topic.command('watch', job.migration_id)}\n",
    )
    bus.tell("GateOpened", job.migration_id, domain=waiting, gate=gate, answer_until=deadline)
    if gate == "stop_writes":
        tally = Tally.of(records, job.domain.name)
        bus.tell(
            "ReadyForCutover",
            job.migration_id,
            domain=job.domain.name,
            predicted_write_stop_seconds=tally.prediction().seconds if tally else None,
            answer_until=deadline,
        )


def announced(records: Records, domain: str) -> Iterator[dict[str, Any]]:
    """The items of the gates at which a domain waits, or has waited."""
    return records.items(record(domain, ""))


def record(domain: str, gate: str) -> str:
    """The record of a gate in the table."""
    return f"{RECORDS}{domain}#{gate}"


def _prompt(records: Records, topic: Topic, job: DomainJob, gate: Gate) -> Iterator[str]:
    """What people are asked, in pieces that may be empty."""
    match gate:
        case "plan":
            made = plan.summary(records)
            look = topic.command("plan", "--of", job.migration_id)
            yield (
                f"{made['plan']} Look at it with `{look}`, or at its page "
                f"s3://{records.bucket}/{made['page']}, then answer the gate."
            )
            yield _changed_before(job)
        case "stop_writes":
            yield (
                f"Stop every client that writes to the source {job.domain.host}, then answer the "
                "gate. What is written after the answer is refused or not moved."
            )
            yield _given_up(records, job.domain.name)
            yield _forecast(records, job)
            if window := job.cutover.window:
                yield f"Answer it before {window.ends_at} UTC, or it opens again later."
        case "clients_moved":
            yield (
                f"The destination {job.destination.endpoint} holds everything and takes writes. "
                "Point the clients there, then answer the gate. A rejection, or no answer in time, "
                "ends the migration and leaves the source blocked: clients may have moved."
            )
            yield _late(records, job.domain.name)


def _changed_before(job: DomainJob) -> str:
    """What has been changed before the plan is approved, in words."""
    if job.mode == "restore_only":
        return (
            "No index is restored before; what reading the snapshot needed, rights and a "
            "repository at the destination, is given back in any case."
        )
    return "Nothing is changed before."


def _given_up(records: Records, domain: str) -> str:
    """Why writes that were stopped before went on; empty where none were."""
    reasons = cutover.given_up(records, domain)
    if not reasons:
        return ""
    return (
        f"Writes were stopped before, and that was given up: {reasons[-1]}. The source took writes "
        "again, and another round has copied it. Stop what makes or writes to indices there, too."
    )


def _forecast(records: Records, job: DomainJob) -> str:
    """How long it will be; empty where nothing was measured."""
    tally = Tally.of(records, job.domain.name)
    if tally is None:
        return ""
    predicted = tally.prediction()
    text = (
        f"From then on it takes about {predicted.seconds} s ({predicted.low_seconds} to "
        f"{predicted.high_seconds} s) until the destination takes writes."
    )
    if tally.by_snapshot:
        text += f" {tally.by_snapshot} indices need a last snapshot."
    wanted = job.cutover.write_stop_seconds
    if predicted.seconds > wanted:
        trend = (
            f"{job.cutover.catch_up_rounds} rounds of catching up weren't enough"
            if tally.converges
            else "it doesn't become shorter"
        )
        text += (
            f" That is longer than the {wanted} s that are wanted, and {trend}: most of it is "
            f"{predicted.reason}. Reject the gate if it is too long, or let clients write less."
        )
    return text


def _late(records: Records, domain: str) -> str:
    """What clients have written to since the hand-over at the source; empty where they haven't."""
    late = cutover.late(records, domain)
    if not late:
        return ""
    return (
        "Clients still write to the source: after the hand-over they have made or written to "
        f"{indices.some(late)} there, and nothing moves that. Stop them. What is new goes by a "
        "migration of its own; what was moved before has to be brought document by document. "
        "This is told once: the next answer counts."
    )
