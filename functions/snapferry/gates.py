"""Gates: points at which a person has to say that the migration may go on."""

import time

from snapferry import cutover, plan
from snapferry.events import Bus
from snapferry.prediction import Tally
from snapferry.records import Records
from snapferry.request import DomainJob, Gate
from snapferry.topic import Topic

ALL_DOMAINS = "all domains"
"""Stands for the domain of a gate at which the whole migration waits."""

_PROMPTS: dict[Gate, str] = {
    "plan": (
        "{plan} Look at it with `snapferry plan --of {migration_id}`, or open the page {page} of "
        "the records, then answer the gate. {changed_before}"
    ),
    "stop_writes": (
        "Stop every client that writes to the source {host}, then answer the gate. What is "
        "written after the answer is refused or not moved. {asked_before} {forecast}"
    ),
    "clients_moved": (
        "The destination {endpoint} holds everything and takes writes. Point the clients there, "
        "then answer the gate. A rejection, or no answer in time, ends the migration and leaves "
        "the source blocked: clients may have moved. {late}"
    ),
}
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
        bus: where is told that writes may be stopped.
        job: the domain that waits; any one of those that wait for the plan.
        gate: which gate.
        token: the task token that answers it.
    """
    waiting = ALL_DOMAINS if gate == "plan" else job.domain.name
    prompt = (
        _PROMPTS[gate]
        .format(
            **plan.summary(records),
            migration_id=job.migration_id,
            changed_before=_changed_before(job),
            host=job.domain.host,
            endpoint=job.destination.endpoint,
            asked_before=cutover.asked_before(records, job.domain.name),
            forecast=cutover.forecast(records, job),
            late=cutover.asked_for_late(records, job.domain.name),
        )
        .strip()
    )
    if gate == "stop_writes" and job.cutover.window:
        prompt += f" Answer it before {job.cutover.window.ends_at} UTC, or it opens again later."
    deadline = int(time.time()) + job.cutover.gate_deadline_seconds
    records.put(
        f"gate#{waiting}#{gate}",
        gate=gate,
        domain=waiting,
        prompt=prompt,
        token=token,
        announced_at=time.time(),
        deadline=deadline,
        state="open",
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
    if gate == "stop_writes":
        tally = Tally.of(records, job.domain.name)
        bus.tell(
            "ReadyForCutover",
            job.migration_id,
            domain=job.domain.name,
            predicted_write_stop_seconds=tally.prediction().seconds if tally else None,
            answer_until=deadline,
        )


def _changed_before(job: DomainJob) -> str:
    """What has been changed before the plan is approved, in words."""
    if job.mode == "restore_only":
        return (
            "No index is restored before; what reading the snapshot needed, rights and a "
            "repository at the destination, is given back in any case."
        )
    return "Nothing is changed before."
