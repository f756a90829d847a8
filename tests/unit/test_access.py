import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from snapferry import access
from snapferry.access import AclGrant, BucketPermissions, ObjectOwnership, PolicyStatement
from snapferry.errors import (
    AccessDenied,
    AclRefused,
    BucketDenied,
    Conflict,
    NotFound,
    Unavailable,
)
from snapferry.journal import BUCKET, Changeable, Journal, Place
from snapferry.request import DomainJob
from tests.unit import buckets
from tests.unit.buckets import NAME, Lag
from tests.unit.conftest import DOMAIN_AS_DESTINATION, MakeJob, Side
from tests.unit.fakes import Fault
from tests.unit.tables import table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

type Step = Callable[[], None]
type State = tuple[str, Any, set[tuple[str, str]]]

ACCESS = {"role_arn": "arn:aws:iam::222222222222:role/SnapferryBucketAccess"}
NODES = "arn:aws:iam::333333333333:role/SearchNodes"
LOGS_ACCOUNT, ORDERS_ACCOUNT, STRANGER = "a" * 64, "b" * 64, "c" * 64
OWNERSHIPS = ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter", None]


class Died(BaseException):
    """The function has come to its end in the middle."""


@pytest.fixture
def items() -> Iterator["Table"]:
    with table() as made:
        yield made


@pytest.fixture
def journal(items: "Table") -> Journal:
    return Journal(items, "m-1")


@pytest.fixture
def migration_bucket(items: "Table") -> Iterator[BucketPermissions]:  # noqa: ARG001 - the same moto
    with buckets.bucket() as made:
        yield made


@pytest.fixture
def jobs(make_job: MakeJob) -> list[DomainJob]:
    """Two domains of two accounts, and a destination of a third one."""
    return [
        make_job(
            domain__name=name,
            domain__canonical_id=canonical_id,
            domain__access_role_arn=f"arn:aws:iam::{account}:role/Access",
            domain__snapshot_role_arn=f"arn:aws:iam::{account}:role/Snapshot",
            bucket__access=ACCESS,
            destination__reader_arn=NODES,
        )
        for name, canonical_id, account in (
            ("orders", ORDERS_ACCOUNT, "444444444444"),
            ("logs", LOGS_ACCOUNT, "111111111111"),
        )
    ]


def policy(bucket: BucketPermissions) -> str:
    """The statements of the policy, in the order that they have."""
    try:
        answer = bucket.s3.get_bucket_policy(Bucket=NAME)
    except NotFound:
        return "absent"
    return json.dumps(json.loads(answer["Policy"])["Statement"])


def state(bucket: BucketPermissions) -> State:
    """All that a migration may change, as text where the order counts."""
    return policy(bucket), ObjectOwnership(bucket).read(), buckets.grants(bucket)


def put_policy(bucket: BucketPermissions, *statements: Any) -> None:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    bucket.s3.put_bucket_policy(Bucket=NAME, Policy=json.dumps(document))


def grant(bucket: BucketPermissions, grantee: str, *permissions: str) -> None:
    AclGrant(bucket, grantee).write(list(permissions))


def give_back(journal: Journal, bucket: BucketPermissions) -> Any:
    def find(place: Place) -> Changeable:
        return access.CHANGEABLES[place.kind](bucket, place.key)

    return journal.give_back(find)


def steps(journal: Journal, bucket: BucketPermissions, jobs: list[DomainJob]) -> list[Step]:
    """A migration that begins by the policy and has to go on by the ACL."""
    return [
        lambda: access.let_source_write(journal, bucket, jobs, "policy"),
        lambda: access.let_source_write(journal, bucket, jobs, "acl"),
        lambda: access.let_destination_read(journal, bucket, "acl"),
        lambda: access.let_source_write(journal, bucket, jobs[:1], "acl"),
        lambda: access.let_destination_read(journal, bucket, "acl"),
        lambda: access.let_source_write(journal, bucket, jobs[1:], "acl"),
    ]


@pytest.mark.parametrize(
    ("reader", "destination"),
    [
        (NODES, {"destination__reader_arn": NODES}),
        (DOMAIN_AS_DESTINATION["snapshot_role_arn"], {"destination": DOMAIN_AS_DESTINATION}),
    ],
    ids=["any cluster", "Amazon domain"],
)
def test_a_restore_alone_lets_the_destination_read_and_nobody_write(
    journal: Journal,
    migration_bucket: BucketPermissions,
    make_job: MakeJob,
    reader: str,
    destination: dict[str, Any],
) -> None:
    changes = {"mode": "restore_only", "bucket__access": ACCESS}

    access.let_source_write(journal, migration_bucket, [make_job(**changes)], "policy")
    assert policy(migration_bucket) == "absent"
    job = make_job(**changes, **destination)
    access.let_source_write(journal, migration_bucket, [job], "policy")

    assert [
        (statement["Principal"], statement["Action"])
        for statement in json.loads(policy(migration_bucket))
    ] == [
        ({"AWS": reader}, "s3:ListBucket"),
        ({"AWS": reader}, ["s3:GetBucketLocation", "s3:GetObject"]),
    ]


def test_every_destination_reads(
    journal: Journal, migration_bucket: BucketPermissions, jobs: list[DomainJob], make_job: MakeJob
) -> None:
    other = make_job(
        domain__name="more", domain__destination=DOMAIN_AS_DESTINATION, bucket__access=ACCESS
    )

    access.let_source_write(journal, migration_bucket, [*jobs, other], "policy")

    _, _, reading = json.loads(policy(migration_bucket))
    assert set(reading["Principal"]["AWS"]) == {NODES, DOMAIN_AS_DESTINATION["snapshot_role_arn"]}


def test_sources_write_and_the_destination_reads_below_their_paths_only(
    journal: Journal, migration_bucket: BucketPermissions, jobs: list[DomainJob]
) -> None:
    access.let_source_write(journal, migration_bucket, jobs, "policy")

    whole = f"arn:aws:s3:::{NAME}"
    objects = [f"{whole}/snapferry/logs/*", f"{whole}/snapferry/orders/*"]
    writers = ["arn:aws:iam::111111111111:role/Snapshot", "arn:aws:iam::444444444444:role/Snapshot"]
    statements = json.loads(policy(migration_bucket))
    assert [
        (statement["Principal"]["AWS"], statement["Action"], statement["Resource"])
        for statement in statements
    ] == [
        ([writers[0], NODES, writers[1]], "s3:ListBucket", whole),
        (
            writers,
            [
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:GetBucketLocation",
                "s3:GetObject",
                "s3:ListBucketMultipartUploads",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
                "s3:PutObjectAcl",
            ],
            [whole, *objects],
        ),
        (NODES, ["s3:GetBucketLocation", "s3:GetObject"], [whole, *objects]),
    ]
    assert [statement.get("Condition") for statement in statements] == [
        {"StringLike": {"s3:prefix": ["snapferry/logs/*", "snapferry/orders/*"]}},
        None,
        None,
    ]
    assert all(statement["Sid"].isalnum() for statement in statements)
    assert len({statement["Sid"] for statement in statements}) == len(statements)


def test_a_destination_of_the_buckets_account_needs_no_statement(
    journal: Journal, migration_bucket: BucketPermissions, make_job: MakeJob
) -> None:
    job = make_job(bucket__access=ACCESS)

    access.let_source_write(journal, migration_bucket, [job], "policy")

    assert all(
        statement["Principal"] == {"AWS": job.domain.snapshot_role_arn}
        for statement in json.loads(policy(migration_bucket))
    )


@pytest.mark.parametrize("own_policy", [True, False], ids=["policy", "no policy"])
@pytest.mark.parametrize("ownership", OWNERSHIPS)
def test_the_acl_way_changes_between_writing_and_reading(
    items: "Table",  # noqa: ARG001 - the same moto
    journal: Journal,
    jobs: list[DomainJob],
    ownership: Any,
    own_policy: bool,
) -> None:
    with buckets.bucket(ownership) as bucket:
        if own_policy:
            put_policy(bucket, buckets.STATEMENT)
        before = state(bucket)
        by_policy, all_write, read, one_writes, *_ = steps(journal, bucket, jobs)
        by_policy()
        assert state(bucket)[1:] == before[1:]
        with_acl = ownership if ownership != "BucketOwnerEnforced" else "BucketOwnerPreferred"
        all_write()
        assert state(bucket)[1:] == (
            with_acl,
            {(id_, kind) for id_ in (LOGS_ACCOUNT, ORDERS_ACCOUNT) for kind in ("READ", "WRITE")},
        )
        read()
        assert state(bucket)[1:] == ("BucketOwnerEnforced", set())
        one_writes()
        assert state(bucket)[1:] == (
            "BucketOwnerPreferred",
            {(ORDERS_ACCOUNT, "READ"), (ORDERS_ACCOUNT, "WRITE")},
        )

        outcome = give_back(journal, bucket)

        assert state(bucket) == before
        assert (outcome.foreign, outcome.failed, outcome.waiting) == ([], [], 0)
        assert journal.open_changes() == []


def dies_at(request_number: int, when: str, bucket: BucketPermissions, run: Sequence[Step]) -> bool:
    """Whether a run gets as far as a request that changes the bucket; there it ends.

    Args:
        request_number: of that request, counted from 0.
        when: `before` or `after` the request takes effect.
        bucket: which is changed.
        run: the steps.
    """
    numbers = itertools.count()

    def die(model: Any, **_: Any) -> None:
        if model.name.startswith(("Put", "Delete")) and next(numbers) == request_number:
            raise Died

    event = f"{when}-call.s3"
    bucket.s3.meta.events.register(event, die)
    try:
        for step in run:
            step()
    except Died:
        return True
    finally:
        bucket.s3.meta.events.unregister(event, die)
    return False


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "ownership",
    [
        "BucketOwnerEnforced",
        "ObjectWriter",
        pytest.param("BucketOwnerPreferred", marks=pytest.mark.exhaustive),
        pytest.param(None, marks=pytest.mark.exhaustive),
    ],
)
def test_any_half_done_state_is_given_back_in_the_order_that_s3_wants(
    items: "Table", jobs: list[DomainJob], ownership: Any, when: str
) -> None:
    with buckets.bucket(ownership) as bucket:
        put_policy(bucket, buckets.STATEMENT)
        before = state(bucket)
        for survived in itertools.count():
            journal = Journal(items, f"m-{survived}")
            died = dies_at(survived, when, bucket, steps(journal, bucket, jobs))

            outcome = give_back(journal, bucket)

            assert state(bucket) == before
            assert (outcome.foreign, outcome.failed, outcome.waiting) == ([], [], 0)
            if not died:
                break
    assert survived > 9


@pytest.mark.parametrize(
    "lag",
    [Lag(looks=3), Lag(judgements=3), Lag(looks=2, judgements=3)],
    ids=["shown", "judged by", "both"],
)
@pytest.mark.parametrize("ownership", ["BucketOwnerEnforced", "ObjectWriter"])
def test_a_bucket_that_is_behind_loses_nothing_and_keeps_nothing(
    items: "Table",  # noqa: ARG001 - the same moto
    journal: Journal,
    jobs: list[DomainJob],
    ownership: Any,
    lag: Lag,
) -> None:
    """A change is merged into what S3 shows, which may be what was there before the last one."""
    behind, lag = lag, Lag()
    with buckets.bucket(ownership, lag) as bucket:
        put_policy(bucket, buckets.STATEMENT)
        before = state(bucket)
        lag.looks, lag.judgements = behind.looks, behind.judgements
        by_policy, all_write, read, *_ = steps(journal, bucket, jobs)
        by_policy()
        assert len(json.loads(policy(bucket))) == 4
        all_write()
        assert {account for account, _ in state(bucket)[2]} == {LOGS_ACCOUNT, ORDERS_ACCOUNT}
        read()
        assert state(bucket)[1:] == ("BucketOwnerEnforced", set())

        outcome = give_back(journal, bucket)

        assert state(bucket) == before
        assert (outcome.foreign, outcome.failed, outcome.waiting) == ([], [], 0)


@pytest.mark.parametrize(
    ("lag", "error", "words"),
    [
        (Lag(looks=float("inf")), Unavailable, "doesn't show within 20 s"),
        (Lag(judgements=float("inf")), Conflict, "AccessControlListNotSupported"),
    ],
    ids=["shown", "judged by"],
)
def test_a_change_is_waited_for_no_longer_than_it_may_take(
    items: "Table",  # noqa: ARG001 - the same moto
    journal: Journal,
    jobs: list[DomainJob],
    lag: Lag,
    error: type[Exception],
    words: str,
) -> None:
    with buckets.bucket(lag=lag) as bucket:
        with pytest.raises(error, match=rf"{words}.*What to do: "):
            access.let_source_write(journal, bucket, jobs, "acl")
        assert sum(lag.waits) == 20


def test_all_statements_are_put_at_once_and_all_grants_are(
    journal: Journal, migration_bucket: BucketPermissions, jobs: list[DomainJob]
) -> None:
    puts = []

    def count(model: Any, **_: Any) -> None:
        puts.append(model.name)

    migration_bucket.s3.meta.events.register("after-call.s3", count)

    access.let_source_write(journal, migration_bucket, jobs, "acl")

    migration_bucket.s3.meta.events.unregister("after-call.s3", count)
    assert [name for name in puts if name.startswith("Put")] == [
        "PutBucketPolicy",
        "PutBucketOwnershipControls",
        "PutBucketAcl",
    ]


def test_two_attempts_change_what_one_does(
    journal: Journal, migration_bucket: BucketPermissions, jobs: list[DomainJob]
) -> None:
    put_policy(migration_bucket, buckets.STATEMENT)
    before = state(migration_bucket)
    for step in steps(journal, migration_bucket, jobs):
        step()
        once = state(migration_bucket)
        step()
        assert state(migration_bucket) == once

    give_back(journal, migration_bucket)

    assert state(migration_bucket) == before


def test_later_calls_for_one_domain_leave_the_policy_to_all(
    journal: Journal, migration_bucket: BucketPermissions, jobs: list[DomainJob]
) -> None:
    access.let_source_write(journal, migration_bucket, jobs, "policy")
    once = policy(migration_bucket)

    access.let_source_write(journal, migration_bucket, jobs[:1], "policy")

    assert policy(migration_bucket) == once


def test_statements_of_others_stay_whenever_they_were_written(
    journal: Journal, migration_bucket: BucketPermissions, jobs: list[DomainJob]
) -> None:
    put_policy(migration_bucket, buckets.STATEMENT)
    access.let_source_write(journal, migration_bucket, jobs, "policy")
    [first, *ours] = json.loads(policy(migration_bucket))
    late = buckets.STATEMENT | {"Sid": "Late"}
    put_policy(migration_bucket, first, late, *ours)

    outcome = give_back(journal, migration_bucket)

    assert json.loads(policy(migration_bucket)) == [buckets.STATEMENT, late]
    assert outcome.foreign == []


def test_a_statement_of_ours_that_someone_changed_is_left_and_reported(
    journal: Journal, migration_bucket: BucketPermissions, jobs: list[DomainJob]
) -> None:
    access.let_source_write(journal, migration_bucket, jobs, "policy")
    [first, *others] = json.loads(policy(migration_bucket))
    changed = first | {"Effect": "Deny"}
    put_policy(migration_bucket, changed, *others)

    outcome = give_back(journal, migration_bucket)

    assert json.loads(policy(migration_bucket)) == [changed]
    [note] = outcome.foreign
    assert first["Sid"] in note


def test_a_statement_is_the_same_in_every_spelling_of_s3(
    migration_bucket: BucketPermissions,
) -> None:
    once = {"Sid": "a", "Action": ["s3:GetObject", "s3:PutObject"], "Principal": {"AWS": "x"}}
    other = {"Sid": "a", "Action": ["s3:PutObject", "s3:GetObject"], "Principal": {"AWS": ["x"]}}
    statement = PolicyStatement(migration_bucket, "a")

    put_policy(migration_bucket, once)
    first = statement.read()
    migration_bucket.s3.put_bucket_policy(
        Bucket=NAME, Policy=json.dumps({"Version": "2012-10-17", "Statement": other})
    )

    assert statement.read() == first


def test_a_hundred_domains_of_as_many_accounts_fit_into_a_policy(
    journal: Journal, migration_bucket: BucketPermissions, make_job: MakeJob
) -> None:
    fleet = [
        make_job(
            domain__name=f"{'d' * 37}{number:03}",
            domain__access_role_arn=f"arn:aws:iam::{number:012}:role/SnapferryDomainAccess",
            domain__snapshot_role_arn=f"arn:aws:iam::{number:012}:role/SnapferrySnapshot",
            bucket__access=ACCESS,
            destination__reader_arn=NODES,
        )
        for number in range(100)
    ]
    elsewhere = make_job(domain__base_path="elsewhere/logs", bucket__access=ACCESS)

    access.let_source_write(journal, migration_bucket, [*fleet, elsewhere], "policy")

    whole = f"arn:aws:s3:::{NAME}"
    objects = [f"{whole}/elsewhere/logs/*", f"{whole}/snapferry/*"]
    listing, writing, reading = json.loads(policy(migration_bucket))
    assert {job.domain.snapshot_role_arn for job in fleet} < set(writing["Principal"]["AWS"])
    assert writing["Resource"] == reading["Resource"] == [whole, *objects]
    assert listing["Condition"] == {
        "StringLike": {"s3:prefix": ["elsewhere/logs/*", "snapferry/*"]}
    }


def test_a_policy_that_grows_too_large_is_refused_before_s3_does(
    journal: Journal, migration_bucket: BucketPermissions, jobs: list[DomainJob]
) -> None:
    long = buckets.STATEMENT | {"Condition": {"StringLike": {"aws:UserAgent": "x" * 20_000}}}
    put_policy(migration_bucket, long)
    before = state(migration_bucket)

    with pytest.raises(Conflict, match=r"would take 21\d{3} bytes .* takes 20480 \(20 KB\)"):
        access.let_source_write(journal, migration_bucket, jobs, "policy")

    assert state(migration_bucket) == before
    give_back(journal, migration_bucket)
    assert state(migration_bucket) == before


@pytest.mark.parametrize("grantee", [STRANGER, LOGS_ACCOUNT], ids=["stranger", "domain's account"])
def test_a_bucket_whose_acl_grants_something_already_is_not_taken(
    items: "Table",  # noqa: ARG001 - the same moto
    journal: Journal,
    jobs: list[DomainJob],
    grantee: str,
) -> None:
    with buckets.bucket("ObjectWriter") as bucket:
        grant(bucket, grantee, "READ", "WRITE")
        before = state(bucket)

        with pytest.raises(Conflict, match=f"grants rights to {grantee}.*What to do: "):
            access.let_source_write(journal, bucket, jobs, "acl")

        assert state(bucket)[1:] == before[1:]


def test_a_grant_that_someone_adds_meanwhile_is_kept_and_named(
    journal: Journal, migration_bucket: BucketPermissions, jobs: list[DomainJob]
) -> None:
    access.let_source_write(journal, migration_bucket, jobs, "acl")
    grant(migration_bucket, STRANGER, "READ")

    outcome = give_back(journal, migration_bucket)

    assert buckets.grants(migration_bucket) == {(STRANGER, "READ")}
    [failure] = outcome.failed
    assert "InvalidBucketAclWithObjectOwnership" in failure
    assert "take the grants to others out" in failure
    grant(migration_bucket, STRANGER)
    assert give_back(journal, migration_bucket).failed == []
    assert state(migration_bucket) == ("absent", "BucketOwnerEnforced", set())


def test_the_owner_keeps_its_own_grant(
    journal: Journal, migration_bucket: BucketPermissions, make_job: MakeJob
) -> None:
    acl = migration_bucket.s3.get_bucket_acl(Bucket=NAME)
    owner = acl["Owner"]["ID"]
    job = make_job(domain__canonical_id=owner, bucket__access=ACCESS)

    access.let_source_write(journal, migration_bucket, [job], "acl")
    access.let_destination_read(journal, migration_bucket, "acl")

    assert migration_bucket.s3.get_bucket_acl(Bucket=NAME)["Grants"] == acl["Grants"]


def test_the_policy_way_never_changes_the_acl(
    journal: Journal, migration_bucket: BucketPermissions, jobs: list[DomainJob]
) -> None:
    access.let_source_write(journal, migration_bucket, jobs, "policy")
    before = state(migration_bucket)

    access.let_destination_read(journal, migration_bucket, "policy")

    assert state(migration_bucket) == before
    assert ObjectOwnership(migration_bucket).read() == "BucketOwnerEnforced"


def test_a_bucket_that_is_not_the_migrations_to_change_is_left_alone(
    journal: Journal, jobs: list[DomainJob]
) -> None:
    access.let_source_write(journal, None, jobs, "policy")
    access.let_destination_read(journal, None, "acl")

    assert journal.open_changes() == []


# The proof

OBJECTS_OF_ANOTHER = (
    500,
    {
        "error": {
            "type": "repository_exception",
            "reason": "could not read repository data",
            "caused_by": {
                "type": "s3_exception",
                "reason": "Access Denied (Service: S3, Status Code: 403)",
            },
        },
        "status": 500,
    },
)
NO_ACLS = (
    500,
    {
        "error": {
            "type": "repository_exception",
            "reason": "The bucket does not allow ACLs (Service: S3, Status Code: 400)",
        },
        "status": 500,
    },
)
NO_KEY = (
    500,
    {
        "error": {
            "type": "s3_exception",
            "reason": "User: x is not authorized to perform: kms:Decrypt (Service: S3, Status "
            "Code: 403)",
        },
        "status": 500,
    },
)


@pytest.fixture
def prove(
    journal: Journal, migration_bucket: BucketPermissions, source: Side, destination: Side
) -> Callable[[DomainJob], str]:
    """Proves the access of a job whose repository is registered on both sides."""

    def run(job: DomainJob) -> str:
        for side in (source, destination):
            side.cluster.repositories[job.repository] = {"base_path": job.base_path}
        bucket = migration_bucket if job.bucket.access else None
        access.let_source_write(journal, bucket, [job], job.way)
        return access.prove(
            journal,
            bucket,
            source.client,
            destination.client,
            job,
            sleep=destination.cluster.pass_time,
        )

    return run


@pytest.fixture
def proven_job(make_job: MakeJob) -> DomainJob:
    return make_job(bucket__access=ACCESS, domain__canonical_id=LOGS_ACCOUNT)


def test_a_way_that_works_is_proven_by_a_snapshot_of_nothing(
    prove: Callable[[DomainJob], str], source: Side, destination: Side, proven_job: DomainJob
) -> None:
    assert prove(proven_job) == "policy"

    [taken] = source.cluster.sent("PUT /_snapshot/.*")
    assert taken.parameters["wait_for_completion"] == "true"
    assert destination.cluster.sent(f"GET {taken.path}")
    assert source.cluster.bucket == {"snapferry/logs": {}}


def test_the_proof_of_one_domain_leaves_the_policy_for_all_of_them_alone(
    journal: Journal,
    migration_bucket: BucketPermissions,
    source: Side,
    destination: Side,
    proven_job: DomainJob,
) -> None:
    """Even where S3 tells of the policy as it was before."""
    for side in (source, destination):
        side.cluster.repositories[proven_job.repository] = {"base_path": proven_job.base_path}

    access.prove(journal, migration_bucket, source.client, destination.client, proven_job)

    assert journal.open_changes(["policy_statement"]) == []


@pytest.mark.parametrize(
    ("side", "request_line", "answer"),
    [
        ("source", "PUT /_snapshot/.*", NO_ACLS),
        ("destination", "GET /_snapshot/.*", OBJECTS_OF_ANOTHER),
    ],
    ids=["ACLs refused", "objects of another account"],
)
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "acl"),
        ({"domain__canonical_id": None}, "domains[].canonical_id of logs"),
        ({"bucket__access": {**ACCESS, "way": "policy"}}, "What to do: "),
        ({"bucket__access": {**ACCESS, "way": "acl"}}, "What to do: "),
        ({"bucket__access": None}, "What to do: "),
    ],
    ids=["automatic", "no canonical ID", "policy only", "ACL already", "by hand"],
)
def test_where_the_policy_is_not_enough_the_acl_is_tried_if_it_may_be(
    prove: Callable[[DomainJob], str],
    source: Side,
    destination: Side,
    make_job: MakeJob,
    side: str,
    request_line: str,
    answer: Any,
    changes: Any,
    expected: str,
) -> None:
    {"source": source, "destination": destination}[side].cluster.faults = [
        Fault(request_line, answer, times=float("inf"))
    ]
    job = make_job(**{"bucket__access": ACCESS, "domain__canonical_id": LOGS_ACCOUNT} | changes)

    if expected == "acl":
        assert prove(job) == expected
    else:
        with pytest.raises((AccessDenied, AclRefused, BucketDenied)) as refusal:
            prove(job)
        assert expected in str(refusal.value)
    assert not source.cluster.bucket.get("snapferry/logs")


@pytest.mark.parametrize(
    ("side", "request_line", "answer"),
    [
        ("source", "PUT /_snapshot/.*", NO_ACLS),
        ("destination", "GET /_snapshot/.*", OBJECTS_OF_ANOTHER),
        ("source", "DELETE /_snapshot/.*", NO_ACLS),
    ],
    ids=["to write", "to read", "to delete"],
)
def test_a_right_that_takes_some_seconds_is_waited_for(
    prove: Callable[[DomainJob], str],
    source: Side,
    destination: Side,
    proven_job: DomainJob,
    side: str,
    request_line: str,
    answer: Any,
) -> None:
    {"source": source, "destination": destination}[side].cluster.faults = [
        Fault(request_line, answer, times=3)
    ]

    assert prove(proven_job) == "policy"
    assert destination.cluster.now_seconds > 0
    assert source.cluster.bucket == {"snapferry/logs": {}}


def test_a_refusal_of_a_bucket_that_is_left_as_it_is_is_told_at_once(
    prove: Callable[[DomainJob], str], source: Side, destination: Side, make_job: MakeJob
) -> None:
    source.cluster.faults = [Fault("PUT /_snapshot/.*", NO_ACLS, times=float("inf"))]

    with pytest.raises(AclRefused):
        prove(make_job(bucket__access=None))

    assert destination.cluster.now_seconds == 0


def test_a_probe_that_was_left_while_the_bucket_is_read_from_holds_nothing_up(
    prove: Callable[[DomainJob], str],
    journal: Journal,
    migration_bucket: BucketPermissions,
    source: Side,
    make_job: MakeJob,
) -> None:
    job = make_job(bucket__access={**ACCESS, "way": "acl"}, domain__canonical_id=LOGS_ACCOUNT)
    source.cluster.faults = [Fault("DELETE /_snapshot/.*", NO_ACLS, times=float("inf"))]
    with pytest.raises(AclRefused):
        prove(job)

    def find(place: Place) -> Changeable:
        client = migration_bucket if place.side == BUCKET else source.client
        return access.CHANGEABLES[place.kind](client, place.key)

    outcome = journal.give_back(find)

    assert (outcome.failed, outcome.foreign, outcome.waiting) == ([], [], 0)
    assert state(migration_bucket) == ("absent", "BucketOwnerEnforced", set())


def test_a_missing_key_grant_is_named_and_no_reason_to_change_the_acl(
    prove: Callable[[DomainJob], str], source: Side, destination: Side, proven_job: DomainJob
) -> None:
    destination.cluster.faults = [Fault("GET /_snapshot/.*", NO_KEY)]

    with pytest.raises(AccessDenied, match=r"What to do: .*kms:GenerateDataKey and kms:Decrypt"):
        prove(proven_job)

    assert source.cluster.bucket == {"snapferry/logs": {}}


def test_in_the_acl_way_the_source_can_write_again_after_the_proof(
    prove: Callable[[DomainJob], str],
    migration_bucket: BucketPermissions,
    destination: Side,
    make_job: MakeJob,
) -> None:
    ownership_at_reading = []
    answer = destination.cluster.answer

    def look(request: Any) -> Any:
        ownership_at_reading.append(ObjectOwnership(migration_bucket).read())
        return answer(request)

    destination.cluster.answer = look  # type: ignore[method-assign]
    job = make_job(bucket__access={**ACCESS, "way": "acl"}, domain__canonical_id=LOGS_ACCOUNT)

    assert prove(job) == "acl"

    assert ownership_at_reading == ["BucketOwnerEnforced"]
    assert state(migration_bucket)[1:] == (
        "BucketOwnerPreferred",
        {(LOGS_ACCOUNT, "READ"), (LOGS_ACCOUNT, "WRITE")},
    )


def test_a_probe_that_was_left_is_deleted_by_the_roll_back(
    journal: Journal,
    prove: Callable[[DomainJob], str],
    migration_bucket: BucketPermissions,
    source: Side,
    proven_job: DomainJob,
) -> None:
    source.cluster.faults = [Fault("DELETE /_snapshot/.*", (503, {"message": "busy"}))]
    with pytest.raises(Exception, match="busy"):
        prove(proven_job)
    assert source.cluster.bucket["snapferry/logs"]

    def find(place: Place) -> Changeable:
        client = migration_bucket if place.side == BUCKET else source.client
        return access.CHANGEABLES[place.kind](client, place.key)

    outcome = journal.give_back(find)

    assert (outcome.failed, outcome.foreign, outcome.waiting) == ([], [], 0)
    assert source.cluster.bucket == {"snapferry/logs": {}}
    assert policy(migration_bucket) == "absent"
