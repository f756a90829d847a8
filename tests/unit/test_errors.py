"""Messages as Amazon OpenSearch Service, OpenSearch and S3 word them."""

from typing import Any

import pytest
from opensearchpy.exceptions import (
    ConnectionError,
    ConnectionTimeout,
    ImproperlyConfigured,
    OpenSearchException,
    SSLError,
    TransportError,
)

from snapferry.errors import (
    AccessDenied,
    AclRefused,
    BucketDenied,
    Conflict,
    NotFound,
    RequestRefused,
    SnapferryError,
    SnapshotFailed,
    SnapshotInProgress,
    Unavailable,
    explain,
    explain_s3,
)

CLUSTER = "source search-logs.example"
REQUEST = "PUT /_snapshot/snapferry-m-1-logs"


def body(*causes: tuple[str, str]) -> dict[str, Any]:
    """The answer's body, with each cause as the cause of the one before."""
    error: dict[str, Any] = {}
    for kind, reason in reversed(causes):
        error = {"type": kind, "reason": reason} | ({"caused_by": error} if error else {})
    first = {"type": causes[0][0], "reason": causes[0][1]}
    return {"error": {"root_cause": [first], **error}, "status": 500}


def explained(status: int | str, info: Any, error: str = "error") -> SnapferryError:
    return explain(TransportError(status, error, info), CLUSTER, REQUEST)


NOT_ACCESSIBLE = (
    "repository_verification_exception",
    "[snapferry-m-1-logs] path [snapferry][logs] is not accessible on cluster-manager node",
)
UPLOAD = ("i_o_exception", "Unable to upload object [snapferry/logs/tests/master.dat]")
RESTORE = "snapshot_restore_exception"

MESSAGES = [
    pytest.param(
        413,
        {"Message": "Request size exceeded 10485760 bytes"},
        RequestRefused,
        "a larger instance type",
        id="document too large for a domain",
    ),
    pytest.param(
        400,
        body(
            (
                "validation_exception",
                "Validation Failed: 1: expected total copies needs to be a multiple of total "
                "awareness attributes [3];",
            )
        ),
        RequestRefused,
        "give domains[].replicas",
        id="copies for each zone",
    ),
    pytest.param(
        500,
        body(
            (
                "illegal_state_exception",
                "trying to modify or unregister repository that is currently used",
            )
        ),
        SnapshotInProgress,
        "wait until it has ended",
        id="repository in use",
    ),
    pytest.param(
        500,
        body(("snapshot_exception", "[r:s/u] Indices don't have primary shards [orders]")),
        SnapshotFailed,
        "domains[].indices.exclude",
        id="shards that are missing at the source",
    ),
    pytest.param(
        503,
        body(
            (
                "concurrent_snapshot_execution_exception",
                "[cs-automated:2026-11-23t10-10-10] cannot snapshot while a snapshot deletion is "
                "in-progress",
            )
        ),
        SnapshotInProgress,
        "wait until it has ended",
        id="automated snapshot",
    ),
    pytest.param(
        500,
        body(("repository_exception", "[snapferry] repository type [s3] does not exist")),
        RequestRefused,
        "plugin repository-s3",
        id="destination without the S3 plugin",
    ),
    pytest.param(
        503,
        body(("remote_transport_exception", "[r:s] a snapshot is already running")),
        SnapshotInProgress,
        "wait until it has ended",
        id="a snapshot runs",
    ),
    pytest.param(
        400,
        body(
            (
                "snapshot_in_progress_exception",
                "Cannot close indices that are being snapshotted: [[orders/Zk1]]. Try again after "
                "snapshot finishes or cancel the currently running snapshot.",
            )
        ),
        SnapshotInProgress,
        "wait until it has ended",
        id="close while snapshotted",
    ),
    pytest.param(
        400,
        body(
            (
                "illegal_argument_exception",
                "Cannot close indices that are being restored: [[orders/Zk1]]",
            )
        ),
        SnapshotInProgress,
        "wait until it has ended",
        id="close while restored",
    ),
    pytest.param(
        500,
        body(
            NOT_ACCESSIBLE,
            UPLOAD,
            (
                "amazon_s3_exception",
                "The bucket does not allow ACLs (Service: Amazon S3; Status Code: 400; Error Code: "
                "AccessControlListNotSupported; Request ID: 5Q4; S3 Extended Request ID: x=)",
            ),
        ),
        AclRefused,
        "Object Ownership",
        id="no ACLs",
    ),
    pytest.param(
        403,
        {
            "Message": "User: arn:aws:sts::111111111111:assumed-role/SnapferryDomainAccess/x is "
            "not authorized to perform: iam:PassRole on resource: "
            "arn:aws:iam::111111111111:role/SnapferrySnapshot"
        },
        AccessDenied,
        "iam:PassRole on snapshot_role_arn",
        id="PassRole",
    ),
    pytest.param(
        403,
        {"Message": "User: anonymous is not authorized to perform: iam:PassRole"},
        AccessDenied,
        "iam:PassRole on snapshot_role_arn",
        id="PassRole by a password",
    ),
    pytest.param(
        403,
        {
            "Message": "User: anonymous is not authorized to perform: es:ESHttpGet because no "
            "resource-based policy allows the es:ESHttpGet action"
        },
        AccessDenied,
        "give master_user.role_arn",
        id="password where only IAM counts",
    ),
    pytest.param(
        401,
        {"Message": "Your request: '/_cluster/settings' payload is not allowed."},
        RequestRefused,
        "Amazon OpenSearch Service doesn't offer this",
        id="setting that Amazon refuses",
    ),
    pytest.param(
        401,
        {"Message": "Your request: '/_plugins/_security/api/roles/x' is not allowed."},
        RequestRefused,
        "Amazon OpenSearch Service doesn't offer this",
        id="operation that Amazon refuses",
    ),
    pytest.param(
        403,
        {"Message": "Cross-account pass role is not allowed."},
        AccessDenied,
        "in the account of the domain",
        id="PassRole across accounts",
    ),
    pytest.param(
        400,
        {"Message": "Cannot assume role: arn:aws:iam::111111111111:role/SnapferrySnapshot"},
        AccessDenied,
        "es.amazonaws.com",
        id="trust policy",
    ),
    pytest.param(
        500,
        body(
            NOT_ACCESSIBLE,
            UPLOAD,
            (
                "a_w_s_security_token_service_exception",
                "User: arn:aws:sts::332315457451:assumed-role/cp-sts-grant-role/"
                "swift-eu-west-1-prod-1 is not authorized to perform: sts:AssumeRole on resource: "
                "arn:aws:iam::111111111111:role/SnapferrySnapshot (Service: "
                "AWSSecurityTokenService; Status Code: 403; Error Code: AccessDenied)",
            ),
        ),
        AccessDenied,
        "es.amazonaws.com",
        id="trust policy, told by the node",
    ),
    pytest.param(
        500,
        body(
            NOT_ACCESSIBLE,
            UPLOAD,
            (
                "amazon_s3_exception",
                "User: arn:aws:sts::111111111111:assumed-role/SnapferrySnapshot/x is not "
                "authorized to perform: kms:GenerateDataKey on resource: "
                "arn:aws:kms:eu-west-1:222222222222:key/1 (Service: Amazon S3; Status Code: 403; "
                "Error Code: AccessDenied)",
            ),
        ),
        AccessDenied,
        "kms:Decrypt",
        id="KMS grant",
    ),
    pytest.param(
        500,
        body(
            NOT_ACCESSIBLE,
            (
                "s3_exception",
                "The ciphertext refers to a customer master key that is disabled (Service: S3, "
                "Status Code: 400, Error Code: KMS.DisabledException)",
            ),
        ),
        AccessDenied,
        "kms:Decrypt",
        id="KMS key disabled",
    ),
    pytest.param(
        500,
        body(
            NOT_ACCESSIBLE,
            ("sdk_client_exception", "Unable to load credentials from any of the providers"),
        ),
        AccessDenied,
        "configure its S3 client",
        id="no credentials",
    ),
    pytest.param(
        500,
        body(("repository_exception", "CredentialRetrievalError: no role on the instance")),
        AccessDenied,
        "configure its S3 client",
        id="credential retrieval",
    ),
    pytest.param(
        500,
        body(
            NOT_ACCESSIBLE,
            UPLOAD,
            (
                "amazon_s3_exception",
                "Access Denied (Service: Amazon S3; Status Code: 403; Error Code: AccessDenied; "
                "Request ID: 5Q4)",
            ),
        ),
        BucketDenied,
        "its policy has to allow",
        id="bucket policy",
    ),
    pytest.param(
        500,
        body(
            ("repository_exception", "[snapferry-m-1-logs] could not read repository data"),
            ("s3_exception", "Access Denied (Service: S3, Status Code: 403, Request ID: 5Q4)"),
        ),
        BucketDenied,
        "its policy has to allow",
        id="bucket policy, newer SDK",
    ),
    pytest.param(
        500,
        body(
            NOT_ACCESSIBLE,
            (
                "amazon_s3_exception",
                "The authorization header is malformed; the region 'us-east-1' is wrong; expecting "
                "'eu-west-1' (Service: Amazon S3; Status Code: 400; Error Code: "
                "AuthorizationHeaderMalformed)",
            ),
        ),
        RequestRefused,
        "bucket.region",
        id="region of the bucket",
    ),
    *(
        pytest.param(
            500,
            body(NOT_ACCESSIBLE, ("s3_exception", f"{text} (Service: S3, Status Code: {status})")),
            RequestRefused,
            "bucket.region",
            id=f"place of the bucket, newer SDK, {status}",
        )
        for status, text in (
            (
                400,
                "The authorization header is malformed; the region 'us-east-1' is wrong; expecting "
                "'eu-west-1'",
            ),
            (
                301,
                "The bucket you are attempting to access must be addressed using the specified "
                "endpoint.",
            ),
            (404, "The specified bucket does not exist"),
        )
    ),
    pytest.param(
        500,
        body(
            NOT_ACCESSIBLE,
            (
                "amazon_s3_exception",
                "The bucket is in this region: eu-west-1. Please use this region to retry the "
                "request (Service: Amazon S3; Status Code: 301; Error Code: PermanentRedirect)",
            ),
        ),
        RequestRefused,
        "bucket.region",
        id="redirected to the bucket's region",
    ),
    pytest.param(
        500,
        body(
            NOT_ACCESSIBLE,
            (
                "amazon_s3_exception",
                "The specified bucket does not exist (Service: Amazon S3; Status Code: 404; Error "
                "Code: NoSuchBucket)",
            ),
        ),
        RequestRefused,
        "bucket.name",
        id="no such bucket",
    ),
    pytest.param(
        403,
        {
            "message": "The request signature we calculated does not match the signature you "
            "provided. Check your AWS Secret Access Key and signing method."
        },
        AccessDenied,
        "the domain refuses the signature",
        id="signature",
    ),
    pytest.param(
        403,
        {"message": "Credential should be scoped to a valid region, not 'eu-west-2'. "},
        AccessDenied,
        "check the domain's region",
        id="signed for another region",
    ),
    pytest.param(
        403,
        {"message": "The security token included in the request is expired"},
        AccessDenied,
        "the domain refuses the signature",
        id="token",
    ),
    pytest.param(
        403,
        {"message": "Signature expired: 20261123T100000Z is now earlier than 20261123T100500Z"},
        AccessDenied,
        "the clock",
        id="clock",
    ),
    pytest.param(
        403,
        {
            "Message": "User: arn:aws:sts::111111111111:assumed-role/s3-bucket-mover/x is not "
            "authorized to perform: es:ESHttpPut because no identity-based policy allows the "
            "es:ESHttpPut action"
        },
        AccessDenied,
        "allow es:ESHttp*",
        id="domain's access policy",
    ),
    pytest.param(
        403,
        body(
            (
                "security_exception",
                "no permissions for [cluster:admin/repository/put] and User "
                "[name=arn:aws:iam::111111111111:role/SnapferryDomainAccess, backend_roles=[], "
                "requestedTenant=null]",
            )
        ),
        AccessDenied,
        "manage_snapshots",
        id="security plugin",
    ),
    pytest.param(
        500,
        body(
            (
                RESTORE,
                "[r:s/x] cannot restore index [trusted-orders] because an open index with same "
                "name already exists in the cluster. Either close or delete the existing index",
            )
        ),
        Conflict,
        "remove or rename it there",
        id="open index",
    ),
    pytest.param(
        500,
        body(
            (
                RESTORE,
                "[r:s/x] cannot restore index [orders] with [3] shards from a snapshot of index "
                "[orders] with [5] shards",
            )
        ),
        Conflict,
        "delete it there",
        id="shard count",
    ),
    pytest.param(
        500,
        body((RESTORE, "[r:s/x] index [kms-keys] wasn't fully snapshotted - cannot restore")),
        SnapshotFailed,
        "take another one",
        id="not fully snapshotted",
    ),
    pytest.param(
        500,
        body(
            (RESTORE, "[r:s/x] cannot restore index [[orders/Zk1]] because it cannot be upgraded"),
            (
                "illegal_state_exception",
                "The index [[orders/Zk1]] was created with version [6.8.0] but the minimum "
                "compatible version is OpenSearch [2.0.0]",
            ),
        ),
        RequestRefused,
        "reindex it at the source",
        id="too old",
    ),
    pytest.param(
        500,
        body(
            (
                RESTORE,
                "[r:s/x] the snapshot was created with OpenSearch version [3.1.0] which is higher "
                "than the version of this node [2.19.4]",
            )
        ),
        RequestRefused,
        "upgrade the destination",
        id="too new",
    ),
    pytest.param(
        500,
        body(
            (
                "illegal_state_exception",
                "alias [orders] has more than one write index [orders-000001,orders-000002]",
            )
        ),
        Conflict,
        "is_write_index",
        id="two write indices",
    ),
]


@pytest.mark.parametrize(("status", "info", "kind", "remedy"), MESSAGES)
def test_a_known_message_comes_with_its_remedy(
    status: int, info: dict[str, Any], kind: type[SnapferryError], remedy: str
) -> None:
    error = explained(status, info)

    assert type(error) is kind
    assert f"{CLUSTER} answered {REQUEST} with {status}: " in str(error)
    assert remedy in str(error).partition("What to do: ")[2]


@pytest.mark.parametrize(
    "name", ["kms-logs", "trust-logs", "iam-pass-roles", "s3-403", "bucket-not-authorized"]
)
def test_names_of_people_are_not_taken_for_the_cause(name: str) -> None:
    error = explained(
        500,
        body(("repository_exception", f"[snapferry-m-1-{name}] could not read repository data")),
    )

    assert type(error) is Unavailable


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_unavailable(status: int) -> None:
    error = explained(status, {"message": "Endpoint request timed out"})

    assert type(error) is Unavailable
    assert "Endpoint request timed out" in str(error)


@pytest.mark.parametrize("status", [401, 403])
def test_an_unknown_refusal_by_rights_asks_to_check_them(status: int) -> None:
    error = explained(status, None, error="Unauthorized")

    assert type(error) is AccessDenied
    assert "Unauthorized. What to do: check the credentials" in str(error)


def test_what_the_cluster_does_not_know_is_not_found() -> None:
    error = explained(404, body(("index_not_found_exception", "no such index [orders]")))

    assert type(error) is NotFound
    assert "no such index [orders]" in str(error)


def test_two_that_change_security_at_once_take_turns() -> None:
    conflict = "[rolesmapping]: version conflict, required seqNo [7], primary term [1]"

    error = explained(409, {"status": "CONFLICT", "message": conflict})

    assert type(error) is Unavailable
    assert conflict in str(error)


@pytest.mark.parametrize("status", [400, 405, 409, 413])
def test_any_other_refusal_is_final(status: int) -> None:
    assert type(explained(status, body(("parsing_exception", "[3:1] unknown")))) is RequestRefused


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ConnectionError("N/A", "[Errno 111] refused", OSError("refused")), id="TCP"),
        pytest.param(SSLError("N/A", "self-signed", OSError("self-signed")), id="TLS"),
        pytest.param(ConnectionTimeout("TIMEOUT", "timed out", OSError("timed out")), id="time"),
        pytest.param(ImproperlyConfigured("no hosts"), id="client"),
    ],
)
def test_no_answer_is_unavailable_and_names_the_way_there(error: OpenSearchException) -> None:
    explanation = explain(error, CLUSTER, REQUEST)

    assert type(explanation) is Unavailable
    assert f"{CLUSTER} can't be reached by {REQUEST}" in str(explanation)
    assert "security groups" in str(explanation)


def test_every_cause_is_told_once_and_in_order() -> None:
    answer = body(("first", "one"), ("second", "two"), ("third", "three"))

    assert str(explained(400, answer)).endswith("with 400: first: one; second: two; third: three")


def test_a_page_in_place_of_json_is_told_as_it_is() -> None:
    error = explained(504, None, error="<html>504 Gateway Time-out</html>")

    assert type(error) is Unavailable
    assert "<html>504 Gateway Time-out</html>" in str(error)


@pytest.mark.parametrize(
    ("status", "code", "request_", "kind", "remedy"),
    [
        (403, "AccessDenied", "PutBucketPolicy", AccessDenied, "allow s3:PutBucketPolicy"),
        (403, "AccessDenied", "GetBucketAcl", AccessDenied, "bucket.access.role_arn"),
        (
            403,
            "AccessDenied",
            "DeleteBucketOwnershipControls",
            AccessDenied,
            "allow s3:PutBucketOwnershipControls",
        ),
        (404, "NoSuchBucket", "GetBucketPolicy", RequestRefused, "bucket.name"),
        (301, "PermanentRedirect", "GetBucketPolicy", RequestRefused, "bucket.region"),
        (400, "AuthorizationHeaderMalformed", "GetBucketPolicy", RequestRefused, "bucket.region"),
        (400, "MalformedPolicy", "PutBucketPolicy", RequestRefused, "snapshot_role_arn"),
        (400, "InvalidArgument", "PutBucketAcl", RequestRefused, "canonical_id"),
        (
            400,
            "InvalidBucketAclWithObjectOwnership",
            "PutBucketOwnershipControls",
            Conflict,
            "out of the bucket's ACL",
        ),
        (400, "AccessControlListNotSupported", "PutBucketAcl", Conflict, "meanwhile"),
        (409, "OperationAborted", "PutBucketPolicy", Unavailable, "try again"),
    ],
)
def test_what_s3_refuses_comes_with_its_remedy(
    status: int, code: str, request_: str, kind: type[SnapferryError], remedy: str
) -> None:
    error = explain_s3(status, code, "in S3's words", "company-migration", request_)

    assert type(error) is kind
    assert f"the bucket company-migration answered {request_} with {status}: {code}: " in str(error)
    assert "in S3's words" in str(error)
    assert remedy in str(error).partition("What to do: ")[2]


@pytest.mark.parametrize("code", ["NoSuchBucketPolicy", "OwnershipControlsNotFoundError"])
def test_what_a_bucket_does_not_have_is_not_found(code: str) -> None:
    assert type(explain_s3(404, code, "", "b", "GetBucketPolicy")) is NotFound


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "InternalError"), (503, "SlowDown"), (429, "TooManyRequests"), (400, "RequestTimeout")],
)
def test_what_s3_cannot_answer_now_may_be_asked_again(status: int, code: str) -> None:
    assert type(explain_s3(status, code, "", "b", "GetBucketPolicy")) is Unavailable


def test_another_refusal_of_s3_is_final() -> None:
    assert type(explain_s3(400, "InvalidRequest", "", "b", "PutBucketAcl")) is RequestRefused
