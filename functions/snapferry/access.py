"""Who may use the bucket: what a migration changes of its permissions, and gives back.

There are two ways to let a domain of another account write. By the bucket's policy alone, the
domain gives each object to the bucket's owner as it writes it, so that the destination can read at
any time. By the bucket's ACL as well, the objects belong to the domain's account until the bucket
owner's ownership of all objects is enforced, and while it is, the domain can't write: so the
bucket changes between writing and reading. That is for domains which can't give objects away.

A look at a bucket may show what was there before its last change, so that each change is waited
for: the next one is merged into what the bucket shows.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html,
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opensearchpy import OpenSearch

from snapferry.errors import (
    AccessDenied,
    AclRefused,
    BucketDenied,
    Conflict,
    NotFound,
    Unavailable,
)
from snapferry.journal import BUCKET, Changeable, Journal, Place, side_of
from snapferry.request import DomainJob, Way

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ENFORCED = "BucketOwnerEnforced"
_POLICY_LIMIT_BYTES = 20 * 1024
# The paths of a fleet are more than that.
_MOST_PATHS = 25
# A change of a bucket's permissions takes some seconds until it holds everywhere.
_SETTLING_SECONDS = 20
_LOOK_EVERY_SECONDS = 1


@dataclass(frozen=True)
class BucketPermissions:
    """The migration bucket, as who may change its permissions.

    Attributes:
        s3: a client as the bucket's access role, which raises the errors of `snapferry.errors`.
        name: of the bucket.
        sleep: waits until it shows a change.
    """

    s3: "S3Client"
    name: str
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)


@dataclass(frozen=True)
class PolicyStatement:
    """A statement of the bucket's policy; all others stay as they are.

    S3 knows no other change than that of the whole policy.

    Attributes:
        bucket: whose policy.
        sid: the statement's `Sid`.
    """

    bucket: BucketPermissions
    sid: str

    def read(self) -> Any:
        """The statement in one spelling, whatever order S3 gives to its lists."""
        return _statements_of(_policy(self.bucket)).get(self.sid)

    def write(self, value: Any) -> None:
        """Puts the statement last, or takes it out; deletes a policy that has no other.

        Raises:
            Conflict: the policy would be too large.
            Unavailable: the bucket doesn't show it.
        """
        _put_statements(self.bucket, {self.sid: value})


@dataclass(frozen=True)
class ObjectOwnership:
    """Whose the objects of the bucket are, and with it whether it has an ACL.

    Attributes:
        bucket: whose objects.
    """

    bucket: BucketPermissions

    def read(self) -> Any:
        """`BucketOwnerEnforced`, `BucketOwnerPreferred` or `ObjectWriter`."""
        try:
            answer = self.bucket.s3.get_bucket_ownership_controls(Bucket=self.bucket.name)
        except NotFound:
            return None
        return answer["OwnershipControls"]["Rules"][0]["ObjectOwnership"]

    def write(self, value: Any) -> None:
        """Sets it; a bucket without it is as with `ObjectWriter`.

        Raises:
            Conflict: the ACL of the bucket grants rights to others, and it would be enforced.
            Unavailable: the bucket doesn't show it.
        """

        def put() -> None:
            if value is None:
                self.bucket.s3.delete_bucket_ownership_controls(Bucket=self.bucket.name)
            else:
                self.bucket.s3.put_bucket_ownership_controls(
                    Bucket=self.bucket.name,
                    OwnershipControls={"Rules": [{"ObjectOwnership": value}]},
                )

        _put(self.bucket, put, lambda: self.read() == value)


@dataclass(frozen=True)
class AclGrant:
    """What the bucket's ACL grants to an account; the grants of all others stay as they are.

    Attributes:
        bucket: whose ACL.
        grantee: canonical ID of the account.
    """

    bucket: BucketPermissions
    grantee: str

    def read(self) -> Any:
        """The permissions, sorted, such as `["READ", "WRITE"]`."""
        return _granted_to(self.grantee, self.bucket.s3.get_bucket_acl(Bucket=self.bucket.name))

    def write(self, value: Any) -> None:
        """Sets the permissions.

        Raises:
            Conflict: the bucket has no ACL, because the owner's ownership is enforced.
            Unavailable: the bucket doesn't show them.
        """
        _put_grants(self.bucket, [self.grantee], value)


@dataclass(frozen=True)
class ProbeSnapshot:
    """A snapshot without indices, which shows whether the ways into and out of the bucket work.

    Attributes:
        cluster: which takes it.
        path: its repository and its name, with a slash between them.
    """

    cluster: OpenSearch
    path: str

    def read(self) -> Any:
        """Whether it is there: True or None."""
        repository, _, snapshot = self.path.partition("/")
        try:
            answer = self.cluster.snapshot.get(
                repository=repository, snapshot=snapshot, ignore_unavailable=True
            )
        except NotFound:  # the repository
            return None
        return bool(answer["snapshots"]) or None

    def write(self, value: Any) -> None:
        """Takes it, or deletes it."""
        repository, _, snapshot = self.path.partition("/")
        if value is not None:
            self.cluster.snapshot.create(
                repository=repository,
                snapshot=snapshot,
                # A pattern that excludes everything is nothing to some versions, and all to others.
                body={
                    "indices": f"{snapshot}-*",
                    "ignore_unavailable": True,
                    "include_global_state": False,
                },
                params={"wait_for_completion": "true"},
            )
            return
        # Where a function has died while the bucket was read from, nothing can be deleted any more.
        # Then it is data: a few small files, like those of the snapshots that are kept.
        with contextlib.suppress(AclRefused):
            self.delete()

    def delete(self) -> None:
        """Deletes it.

        Raises:
            AclRefused: the bucket is read from.
        """
        repository, _, snapshot = self.path.partition("/")
        with contextlib.suppress(NotFound):
            self.cluster.snapshot.delete(repository=repository, snapshot=snapshot)


_POLICY_STATEMENT = "policy_statement"
_OBJECT_OWNERSHIP = "object_ownership"
_ACL_GRANT = "acl_grant"
_PROBE_SNAPSHOT = "probe_snapshot"

CHANGEABLES: Mapping[str, Callable[[Any, str], Changeable]] = {
    _POLICY_STATEMENT: PolicyStatement,
    _OBJECT_OWNERSHIP: lambda bucket, _: ObjectOwnership(bucket),
    _ACL_GRANT: AclGrant,
    _PROBE_SNAPSHOT: ProbeSnapshot,
}


def let_source_write(
    journal: Journal, bucket: BucketPermissions | None, jobs: Sequence[DomainJob], way: Way
) -> None:
    """Lets the domains write below their paths, and the destination read there.

    The statements of the policy are for all domains of the migration, so it is called with all
    jobs at first. They stay until they are given back: afterwards only the ACL changes.

    Args:
        journal: of the migration.
        bucket: None where the migration isn't to change its permissions.
        jobs: those that write next.
        way: `acl` grants rights by the bucket's ACL as well.

    Raises:
        AccessDenied: to the bucket's access role.
        Conflict: the policy has no room for the statements, or the ACL grants rights to others.
        Unavailable: the bucket doesn't show what was changed.
    """
    if bucket is None:
        return
    missing = _missing_statements(bucket, jobs)
    for sid, statement in missing.items():
        journal.note(Place(BUCKET, _POLICY_STATEMENT, sid), None, statement)
    if missing:
        _put_statements(bucket, missing)
    if way == "acl":
        _refuse_strangers(bucket, _granted(journal))
        # Otherwise there is no ACL to grant by.
        if ObjectOwnership(bucket).read() == _ENFORCED:
            _own(journal, bucket, "BucketOwnerPreferred")
        accounts = {job.domain.canonical_id for job in jobs if job.domain.canonical_id}
        _grant(journal, bucket, accounts, ["READ", "WRITE"])


def foresee(bucket: BucketPermissions | None, job: DomainJob) -> list[Place]:
    """What the migration will change of the bucket's permissions for a domain, and its proof.

    Raises:
        AccessDenied: to the bucket's access role.
        Conflict: the ACL grants rights to others, and the domain is to write by it.
    """
    places = [_probe_place(job)]
    if bucket is None:
        return places
    places += [Place(BUCKET, _POLICY_STATEMENT, sid) for sid in _missing_statements(bucket, [job])]
    if job.way == "acl":
        _refuse_strangers(bucket, set())
        places.append(Place(BUCKET, _ACL_GRANT, str(job.domain.canonical_id)))
        # It is enforced whenever the destination reads.
        places.append(Place(BUCKET, _OBJECT_OWNERSHIP, bucket.name))
    return places


def let_destination_read(journal: Journal, bucket: BucketPermissions | None, way: Way) -> None:
    """Makes all objects the bucket owner's, so that the destination can read them.

    Only the ACL way needs it. No domain can write until `let_source_write`.

    Args:
        journal: of the migration.
        bucket: None where the migration isn't to change its permissions.
        way: nothing is done unless it is `acl`.

    Raises:
        AccessDenied: to the bucket's access role.
        Conflict: someone else has granted rights by the ACL meanwhile.
        Unavailable: the bucket doesn't show what was changed.
    """
    if bucket is None or way != "acl":
        return
    # Ownership is enforced only where the ACL grants nothing to others.
    _grant(journal, bucket, _granted(journal), None)
    _own(journal, bucket, _ENFORCED)


def prove(
    journal: Journal,
    bucket: BucketPermissions | None,
    source: OpenSearch,
    destination: OpenSearch,
    job: DomainJob,
    sleep: Callable[[float], None] = time.sleep,
) -> Way:
    """Has the source write a small snapshot and the destination read it; nothing of it is left.

    Args:
        journal: of the migration.
        bucket: None where the migration isn't to change its permissions.
        source: the domain.
        destination: the cluster that is to read.
        job: with its repository registered on both sides.
        sleep: waits between looks.

    Returns:
        The way that the bucket needs: that of the job if it works, otherwise `acl`.

    Raises:
        AclRefused: the source can't write in this way, and no other is allowed.
        BucketDenied: a side can't write or read, and no other way is allowed.
        AccessDenied: another right is missing, or the canonical ID for the other way.
        Unavailable: the bucket doesn't show what was changed.
    """
    snapshot = _probe(job)
    # Where nothing was changed, nothing is on its way.
    patience_seconds = _SETTLING_SECONDS if bucket else 0
    probe = ProbeSnapshot(source, f"{job.repository}/{snapshot}")
    try:
        try:
            _once_settled(
                lambda: journal.change(_probe_place(job), probe, True), patience_seconds, sleep
            )
            let_destination_read(journal, bucket, job.way)
            _once_settled(
                lambda: destination.snapshot.get(repository=job.repository, snapshot=snapshot),
                patience_seconds,
                sleep,
            )
        finally:
            # The policy's statements are for all domains; a look at them may be out of date.
            if job.way == "acl":
                let_source_write(journal, bucket, [job], job.way)
            _once_settled(probe.delete, patience_seconds, sleep)
    except (AclRefused, BucketDenied) as refusal:
        return _other_way(job, refusal)
    return job.way


def _probe(job: DomainJob) -> str:
    return f"{job.repository}-probe"


def _probe_place(job: DomainJob) -> Place:
    return Place(side_of(job.domain.name), _PROBE_SNAPSHOT, f"{job.repository}/{_probe(job)}")


def _statements(bucket: BucketPermissions, jobs: Sequence[DomainJob]) -> Iterator[dict[str, Any]]:
    """What the policy has to allow: to list, to write, and to read as the destination.

    A prefix is known of a list of objects only, so that other requests can't be limited by it.
    There is no condition on the source's account or domain: it is the role that writes.

    Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
    """
    partition = jobs[0].domain.snapshot_role_arn.split(":")[1]
    whole = f"arn:{partition}:s3:::{bucket.name}"
    paths = _paths(jobs)
    objects = [f"{whole}/{path}/*" for path in paths]
    # A snapshot that is there already is restored without its source.
    writers = [job.domain.snapshot_role_arn for job in jobs if job.mode != "restore_only"]
    readers = [job.destination.bucket_reader for job in jobs if job.destination.bucket_reader]
    digest = hashlib.sha256(jobs[0].migration_id.encode()).hexdigest()[:16]

    def statement(
        name: str, principals: list[str], actions: list[str], resources: list[str], **more: Any
    ) -> Any:
        return _in_one_spelling(
            {
                "Sid": f"Snapferry{digest}{name}",
                "Effect": "Allow",
                "Principal": {"AWS": principals},
                "Action": [f"s3:{action}" for action in actions],
                "Resource": resources,
                **more,
            }
        )

    prefixes = {"StringLike": {"s3:prefix": [f"{path}/*" for path in paths]}}
    if writers or readers:
        yield statement("List", writers + readers, ["ListBucket"], [whole], Condition=prefixes)
    if writers:
        yield statement(
            "Write",
            writers,
            [
                "AbortMultipartUpload",
                "DeleteObject",
                "GetBucketLocation",
                "GetObject",
                "ListBucketMultipartUploads",
                "ListMultipartUploadParts",
                "PutObject",
                "PutObjectAcl",
            ],
            [whole, *objects],
        )
    if readers:
        yield statement("Read", readers, ["GetBucketLocation", "GetObject"], [whole, *objects])


def _paths(jobs: Sequence[DomainJob]) -> list[str]:
    """Where the domains write; of a fleet the bucket's base path stands for what lies below it."""
    paths = [job.base_path for job in jobs]
    if len(paths) <= _MOST_PATHS:
        return paths
    base = jobs[0].bucket.base_path
    return sorted({base if path.startswith(f"{base}/") else path for path in paths})


def _in_one_spelling(element: Any) -> Any:
    """A part of a policy with its lists sorted, and a list of one as its item."""
    if isinstance(element, dict):
        return {name: _in_one_spelling(value) for name, value in element.items()}
    if isinstance(element, list):
        items = sorted(set(element))
        return items[0] if len(items) == 1 else items
    return element


def _policy(bucket: BucketPermissions) -> dict[str, Any]:
    try:
        answer = bucket.s3.get_bucket_policy(Bucket=bucket.name)
    except NotFound:
        return {"Version": "2012-10-17", "Statement": []}
    policy: dict[str, Any] = json.loads(answer["Policy"])
    return policy | {"Statement": _several(policy["Statement"])}


def _statements_of(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The statements of a policy that have a Sid, by it."""
    return {
        statement["Sid"]: _in_one_spelling(statement)
        for statement in policy["Statement"]
        if "Sid" in statement
    }


def _missing_statements(bucket: BucketPermissions, jobs: Sequence[DomainJob]) -> dict[str, Any]:
    """The statements that some domains need and the bucket's policy lacks, by their Sids."""
    present = _statements_of(_policy(bucket))
    return {
        statement["Sid"]: statement
        for statement in _statements(bucket, jobs)
        if statement["Sid"] not in present
    }


def _put_statements(bucket: BucketPermissions, values: Mapping[str, Any]) -> None:
    """Puts statements last, by their Sids, or takes out those that are None, by one change.

    Raises:
        Conflict: the policy would be too large.
        Unavailable: the bucket doesn't show them.
    """
    policy = _policy(bucket)
    statements = [one for one in policy["Statement"] if one.get("Sid") not in values]
    statements += [value for value in values.values() if value is not None]
    text = json.dumps(policy | {"Statement": statements}, ensure_ascii=False, separators=(",", ":"))
    size_bytes = len(text.encode())
    if size_bytes > _POLICY_LIMIT_BYTES:
        raise Conflict(
            f"the policy of the bucket {bucket.name} would take {size_bytes} bytes with the "
            f"migration's statements, and S3 takes {_POLICY_LIMIT_BYTES} (20 KB). What to do: "
            "shorten the policy, move fewer domains at once, or give them shorter paths."
        )

    def put() -> None:
        if statements:
            bucket.s3.put_bucket_policy(Bucket=bucket.name, Policy=text)
        else:
            bucket.s3.delete_bucket_policy(Bucket=bucket.name)

    def are_shown() -> bool:
        # Not what they say, which S3 may spell in its own way: only the migration has these Sids.
        present = _statements_of(_policy(bucket))
        return all((sid in present) == (value is not None) for sid, value in values.items())

    _put(bucket, put, are_shown)


def _granted_to(grantee: str, acl: Mapping[str, Any]) -> list[str] | None:
    granted = {
        grant["Permission"] for grant in acl["Grants"] if grant["Grantee"].get("ID") == grantee
    }
    return sorted(granted) or None


def _put_grants(
    bucket: BucketPermissions, grantees: Collection[str], permissions: Sequence[str] | None
) -> None:
    """Grants all of them the same by the bucket's ACL, by one change.

    Raises:
        Conflict: the bucket has no ACL, because the owner's ownership is enforced.
        Unavailable: the bucket doesn't show it.
    """
    acl = bucket.s3.get_bucket_acl(Bucket=bucket.name)
    others = [grant for grant in acl["Grants"] if grant["Grantee"].get("ID") not in grantees]
    own: list[Any] = [
        {"Grantee": {"Type": "CanonicalUser", "ID": grantee}, "Permission": permission}
        for grantee in grantees
        for permission in permissions or ()
    ]

    def put() -> None:
        bucket.s3.put_bucket_acl(
            Bucket=bucket.name,
            AccessControlPolicy={"Owner": acl["Owner"], "Grants": others + own},
        )

    def are_shown() -> bool:
        shown = bucket.s3.get_bucket_acl(Bucket=bucket.name)
        wanted = sorted(permissions or ()) or None
        return all(_granted_to(grantee, shown) == wanted for grantee in grantees)

    _put(bucket, put, are_shown)


def _put(
    bucket: BucketPermissions, put: Callable[[], object], is_shown: Callable[[], bool]
) -> None:
    """Changes the bucket, and waits until it shows the change.

    Ownership and ACL are judged by each other, for a time as they were before: our changes come in
    the right order, so that their refusal is waited out, too.

    Raises:
        Conflict: the change is refused for longer than that.
        Unavailable: the change was taken, and isn't shown.
    """
    is_put = False
    waited_seconds = 0
    while True:
        try:
            if not is_put:
                put()
                is_put = True
            if is_shown():
                return
        except Conflict:
            if waited_seconds >= _SETTLING_SECONDS:
                raise
        if waited_seconds >= _SETTLING_SECONDS:
            raise Unavailable(
                f"the bucket {bucket.name} doesn't show within {_SETTLING_SECONDS} s what was "
                "changed of its permissions. Something else may change them, too. What to do: "
                "leave them to the migration, and try again."
            )
        bucket.sleep(_LOOK_EVERY_SECONDS)
        waited_seconds += _LOOK_EVERY_SECONDS


def _several(value: Any) -> list[Any]:
    """A policy may have a single item in place of a list of one."""
    return value if isinstance(value, list) else [value]


def _granted(journal: Journal) -> set[str]:
    """The canonical IDs of those to whom the migration has granted something by the ACL."""
    return {change.place.key for change in journal.open_changes([_ACL_GRANT])}


def _refuse_strangers(bucket: BucketPermissions, known: Collection[str]) -> None:
    """Others would lose what the ACL grants them while ownership is enforced."""
    answer = bucket.s3.get_bucket_acl(Bucket=bucket.name)
    grantees = {
        grant["Grantee"].get("ID") or grant["Grantee"].get("URI", "") for grant in answer["Grants"]
    }
    strangers = sorted(grantees - {answer["Owner"]["ID"], *known})
    if strangers:
        raise Conflict(
            f"the ACL of the bucket {bucket.name} grants rights to {', '.join(strangers)}, which "
            "the migration would have to take away for a time. What to do: use another bucket, or "
            "take the grants out of the ACL; the bucket's policy can give others the same rights, "
            "and the domains' accounts get theirs from the migration."
        )


def _grant(
    journal: Journal,
    bucket: BucketPermissions,
    grantees: Collection[str],
    permissions: list[str] | None,
) -> None:
    answer = bucket.s3.get_bucket_acl(Bucket=bucket.name)
    changed = []
    for grantee in sorted(set(grantees) - {answer["Owner"]["ID"]}):
        present = _granted_to(grantee, answer)
        if present != permissions:
            journal.note(Place(BUCKET, _ACL_GRANT, grantee), present, permissions)
            changed.append(grantee)
    if changed:
        _put_grants(bucket, changed, permissions)


def _own(journal: Journal, bucket: BucketPermissions, ownership: str) -> None:
    journal.change(
        Place(BUCKET, _OBJECT_OWNERSHIP, bucket.name), ObjectOwnership(bucket), ownership
    )


def _once_settled(
    attempt: Callable[[], Any], patience_seconds: int, sleep: Callable[[float], None]
) -> None:
    """Tries until what the bucket was told last holds everywhere, or should have."""
    waited_seconds = 0
    while True:
        try:
            attempt()
        except (AclRefused, BucketDenied, NotFound):
            if waited_seconds >= patience_seconds:
                raise
        else:
            return
        sleep(_LOOK_EVERY_SECONDS)
        waited_seconds += _LOOK_EVERY_SECONDS


def _other_way(job: DomainJob, refusal: AclRefused | BucketDenied) -> Way:
    access = job.bucket.access
    if access is None or access.way != "automatic" or job.way == "acl":
        raise refusal
    if job.domain.canonical_id is None:
        raise AccessDenied(
            f"{refusal} The bucket's ACL may help where its policy isn't enough: give "
            f"domains[].canonical_id of {job.domain.name}, which is what `aws s3api list-buckets "
            "--query Owner.ID` tells in the account of the domain."
        ) from refusal
    return "acl"
