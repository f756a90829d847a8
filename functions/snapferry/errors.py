"""The errors of a migration, named for what has to be done about them.

Their names are the contract with the state machines: `Retry` and `Catch` match them. Everything
that a cluster answers becomes one of them in `explain`, together with a remedy.
"""

import re
from collections.abc import Iterator
from typing import Any

from opensearchpy.exceptions import ConnectionError as ClusterConnectionError
from opensearchpy.exceptions import OpenSearchException, SerializationError, TransportError

# Of a denial that isn't among `_REMEDIES`.
UNKNOWN_DENIAL = "check the credentials and what the caller is allowed to do on this cluster"
# A hundred of them stay below the 32,768 characters of a Fail state's Cause.
_LONGEST_CAUSE = 300


class SnapferryError(Exception):
    """Any failure that the product names; its text says what failed, where, and what to do."""


class InvalidInput(SnapferryError):
    """The input can't be used; nothing was changed."""


class AccessDenied(SnapferryError):
    """A right is missing on a cluster, a role or the bucket; someone has to grant it."""


class PlanRejected(SnapferryError):
    """Indices can't be moved, or the destination has no room; nothing was changed."""


class AclRefused(SnapferryError):
    """The bucket refuses the ACL of the objects; the way by its own ACL may help."""


class BucketDenied(SnapferryError):
    """The bucket denies a cluster to write or read. A right just given may take some seconds."""


class Conflict(SnapferryError):
    """Something that isn't ours is in the way."""


class LeaseHeld(SnapferryError):
    """Another migration uses the bucket, a domain or a destination."""


class SnapshotSkipped(SnapferryError):
    """A snapshot of a series isn't taken, because another run isn't over; the next one comes."""


class MigrationEnded(SnapferryError):
    """The migration has ended or is being rolled back; nothing may be changed for it."""


class NotFound(SnapferryError):
    """The cluster doesn't know what was asked for."""


class RequestRefused(SnapferryError):
    """The cluster understood the request and refused it; a repetition doesn't help."""


class Unavailable(SnapferryError):
    """The other side can't answer at the moment; a later attempt may succeed."""


class OutsideWindow(SnapferryError):
    """Writes may not be stopped at this time of day; the gate opens again when they may."""


class SourceChanged(SnapferryError):
    """Something was made or written to after writes had been stopped; the gate opens again."""


class SnapshotInProgress(SnapferryError):
    """Another snapshot runs on the cluster; ours has to wait for it."""


class RollBackInProgress(SnapferryError):
    """Another execution gives back what the migration has changed; it may not come to its end."""


class SnapshotFailed(SnapferryError):
    """The snapshot ended incomplete; it must not be restored."""


class RestoreFailed(SnapferryError):
    """Shards could not be restored."""


class VerificationFailed(SnapferryError):
    """The copy differs from the source."""


# (what the message holds, the error it becomes, what to do). The first match decides, so the
# specific ones stand before the general ones.
_REMEDIES: tuple[tuple[str, type[SnapferryError], str], ...] = (
    (
        r"concurrent_snapshot_execution|snapshot is already running|snapshot_in_progress_exception|"
        r"repository that is currently used|"
        r"indices that are being (?:snapshotted|restored)",
        SnapshotInProgress,
        "another snapshot or restore runs on this cluster: wait until it has ended",
    ),
    (
        r"AccessControlListNotSupported|bucket does not allow ACLs",
        AclRefused,
        "the bucket refuses the ACL of the objects: its Object Ownership has to be "
        "BucketOwnerEnforced with canned_acl bucket-owner-full-control, or BucketOwnerPreferred",
    ),
    (
        r"iam:PassRole|pass role is not allowed",
        AccessDenied,
        "allow iam:PassRole on snapshot_role_arn for the role in access_role_arn, and keep both "
        "in the account of the domain",
    ),
    (
        r"cannot assume role|sts:AssumeRole",
        AccessDenied,
        "the trust policy of snapshot_role_arn has to name the service es.amazonaws.com",
    ),
    (
        r"kms:|KMS\.\w+Exception|Service: AWSKMS",
        AccessDenied,
        "the bucket is encrypted with a KMS key: grant kms:GenerateDataKey and kms:Decrypt on it "
        "to snapshot_role_arn and to the destination",
    ),
    (
        r"credential_retrieval|CredentialRetrievalError|Unable to load credentials",
        AccessDenied,
        "the cluster has no credentials for the bucket: configure its S3 client",
    ),
    (
        r"User: anonymous is not authorized to perform: es:",
        AccessDenied,
        "a request by a user's password needs an access policy of the domain that lets everybody "
        "in, and the internal user database; on a domain without, give master_user.role_arn",
    ),
    (
        r"not authorized to perform: es:",
        AccessDenied,
        "allow es:ESHttp* on the domain in the policy of access_role_arn, or of "
        "master_user.role_arn, and in the domain's access policy",
    ),
    (
        # Newer clients of S3 leave the codes out.
        r"AuthorizationHeaderMalformed|PermanentRedirect|NoSuchBucket|"
        r"authorization header is malformed; the region|"
        r"must be addressed using the specified endpoint|specified bucket does not exist",
        RequestRefused,
        "bucket.name and bucket.region have to be the bucket's own, whatever the domain's region",
    ),
    (
        r"repository type \[s3\]",
        RequestRefused,
        "install the plugin repository-s3 on each node, and give it credentials for the bucket",
    ),
    (
        r"(?=.*(?:s3|bucket|repository))(?=.*(?:Access ?Denied|Status Code: 403|not authorized))",
        BucketDenied,
        "the bucket denies access: its policy has to allow the source's snapshot_role_arn to list "
        "the bucket and to read, write and delete objects under the base path, and the "
        "destination's own identity to list and read them; a domain's is its snapshot_role_arn",
    ),
    (
        r"Your request: .* is not allowed",
        RequestRefused,
        "Amazon OpenSearch Service doesn't offer this",
    ),
    (
        r"signature we calculated|scoped to correct service|scoped to a valid region|"
        r"security token included in the request|Signature expired",
        AccessDenied,
        "the domain refuses the signature: check the domain's region and that access_role_arn "
        "belongs to the domain's account; the clock of the caller has to be right",
    ),
    (
        r"no permissions for",
        AccessDenied,
        "map the caller (on a domain: access_role_arn as a backend role) to a role of the "
        "security plugin that holds this permission, such as manage_snapshots",
    ),
    (
        r"open index with same name already exists",
        Conflict,
        "an open index of this name stands at the destination: remove or rename it there, or "
        "exclude it in domains[].indices",
    ),
    (
        r"with \[\d+\] shards? from a snapshot of index",
        Conflict,
        "the closed index at the destination has another number of shards: delete it there",
    ),
    (
        r"don't have primary shards",
        SnapshotFailed,
        "bring these indices to green health, or put them into domains[].indices.exclude",
    ),
    (
        r"wasn't fully snapshotted",
        SnapshotFailed,
        "the snapshot lacks shards of this index: take another one once the source is green",
    ),
    (
        r"cannot be upgraded|minimum compatible version",
        RequestRefused,
        "the index was created by an engine too old for the destination: reindex it at the source",
    ),
    (
        r"higher than the version of this node",
        RequestRefused,
        "the destination's engine has to be as new as the source's: upgrade the destination",
    ),
    (
        r"no data nodes? with criteria",
        Unavailable,
        "the primary of a shard has moved to another node: ask again",
    ),
    (
        # The security plugin writes all roles, or all mappings, as one document.
        r"version conflict, required seqNo",
        Unavailable,
        "someone else has changed the same at this moment: ask again",
    ),
    (
        r"Request size exceeded",
        RequestRefused,
        "a document is larger than the domain takes in one request: a larger instance type takes "
        "100 MiB in place of 10; or put its index into domains[].indices.exclude",
    ),
    (
        r"multiple of total awareness attributes",
        RequestRefused,
        "the destination wants a copy of each shard in each zone: give domains[].replicas, 2 for "
        "three zones",
    ),
    (
        r"more than one write index",
        Conflict,
        "an index of someone else has the alias already: take is_write_index or the alias off it",
    ),
)


# Of S3, by the code of its answer.
_S3_ERRORS: dict[str, tuple[type[SnapferryError], str]] = {
    "NoSuchBucketPolicy": (NotFound, ""),
    "OwnershipControlsNotFoundError": (NotFound, ""),
    "AuthorizationHeaderMalformed": (RequestRefused, "bucket.region has to be the bucket's own"),
    "NoSuchBucket": (RequestRefused, "bucket.name has to be that of a bucket which exists"),
    "PermanentRedirect": (RequestRefused, "bucket.region has to be the bucket's own"),
    "MalformedPolicy": (
        RequestRefused,
        "every principal in the bucket's policy has to exist: look for the snapshot_role_arn of "
        "each domain and destination.reader_arn in their accounts, and remove statements that "
        "name what is gone (an id like AROA...) from the policy",
    ),
    "InvalidArgument": (
        RequestRefused,
        "domains[].canonical_id has to be that of an account which exists",
    ),
    "InvalidBucketAclWithObjectOwnership": (
        Conflict,
        "take the grants to others out of the bucket's ACL: ownership can't be enforced with them",
    ),
    "AccessControlListNotSupported": (
        Conflict,
        "someone has enforced the bucket owner's ownership meanwhile: leave it to the migration",
    ),
    "OperationAborted": (Unavailable, "someone else changes the bucket, too: try again later"),
}


def short_cause(domain: str, cause: str) -> str:
    """Why a domain failed, among other domains that did."""
    return f"{domain}: {cause}"[:_LONGEST_CAUSE]


def explain_s3(status: int, code: str, message: str, bucket: str, request: str) -> SnapferryError:
    """Turns what S3 answered to a change of the bucket into one of our errors, with the remedy.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html

    Args:
        status: of the answer.
        code: the error's name in S3.
        message: what S3 says of it.
        bucket: name of the bucket.
        request: the operation, such as `PutBucketPolicy`.

    Returns:
        The error to raise.
    """
    prefix = f"the bucket {bucket} answered {request} with {status}: {code}: {message}"
    if code in _S3_ERRORS:
        kind, remedy = _S3_ERRORS[code]
        return kind(f"{prefix}. What to do: {remedy}." if remedy else prefix)
    if status in (401, 403):
        # S3 names this right otherwise than the request that removes what it is about.
        right = request.replace("DeleteBucketOwnership", "PutBucketOwnership")
        return AccessDenied(
            f"{prefix}. What to do: allow s3:{right} on the bucket in the policy of "
            "bucket.access.role_arn, which has to be of the bucket's account."
        )
    if status == 429 or status >= 500 or code == "RequestTimeout":
        return Unavailable(prefix)
    return RequestRefused(prefix)


def explain(error: OpenSearchException, cluster: str, request: str) -> SnapferryError:
    """Turns what the client raised into one of our errors, with the remedy.

    Args:
        error: what opensearch-py raised.
        cluster: the side in the user's words, such as `source search-logs.example`.
        request: method and path, such as `PUT /_snapshot/x`.

    Returns:
        The error to raise.
    """
    if isinstance(error, SerializationError) and "mimetype" in str(error):
        return AccessDenied(
            f"{cluster} answered {request} with a page in place of data. What to do: check the "
            "address, and that it takes passwords (basic authentication) besides other sign-ins."
        )
    if isinstance(error, ClusterConnectionError) or not isinstance(error, TransportError):
        return Unavailable(
            f"{cluster} can't be reached by {request}: {error}. Check the address, and that the "
            "functions' subnets and security groups have a route to it."
        )
    reason = "; ".join(dict.fromkeys(_reasons(error.info))) or str(error.error)
    prefix = f"{cluster} answered {request} with {error.status_code}: {reason}"
    for pattern, kind, remedy in _REMEDIES:
        if re.search(pattern, reason, re.IGNORECASE | re.DOTALL):
            return kind(f"{prefix}. What to do: {remedy}.")
    match error.status_code:
        case 401 | 403:
            return AccessDenied(f"{prefix}. What to do: {UNKNOWN_DENIAL}.")
        case 404:
            return NotFound(prefix)
        case 408 | 429 | 500 | 502 | 503 | 504:
            return Unavailable(prefix)
    return RequestRefused(prefix)


def _reasons(info: Any) -> Iterator[str]:
    """Yields every reason in the answer's body: the error, its causes, Amazon's message."""
    match info:
        case str():
            yield info
        case list():
            for item in info:
                yield from _reasons(item)
        case dict():
            for key in ("message", "Message", "reason"):
                if isinstance(info.get(key), str):
                    yield f"{info['type']}: {info[key]}" if "type" in info else info[key]
            for key in ("error", "caused_by", "root_cause"):
                yield from _reasons(info.get(key))
