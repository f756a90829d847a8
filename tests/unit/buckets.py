"""The migration bucket on moto's S3, as the product's own client of it, with what S3 refuses.

moto keeps a bucket's policy, ownership and ACL, but lets them contradict each other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

from moto import mock_aws

from snapferry import clients, request
from snapferry.access import BucketPermissions, ObjectOwnership

NAME = "company-migration"
STATEMENT = {
    "Sid": "Theirs",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": [f"arn:aws:s3:::{NAME}/*", f"arn:aws:s3:::{NAME}"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


@contextmanager
def bucket(ownership: Any = "BucketOwnerEnforced") -> Iterator[BucketPermissions]:
    """A bucket without a policy; as AWS makes it unless another ownership is said."""
    with mock_aws():
        made = clients.bucket(
            request.Bucket(
                name=NAME,
                region="eu-west-1",
                access=request.BucketAccess(
                    role_arn="arn:aws:iam::222222222222:role/SnapferryBucketAccess"
                ),
            )
        )
        assert made
        made.s3.create_bucket(
            Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        if ownership:
            ObjectOwnership(made).write(ownership)
        # With ids, since the client is kept for the next test.
        events: Any = made.s3.meta.events
        for name, refuse in (
            ("PutBucketAcl", _refuse_acl),
            ("PutBucketOwnershipControls", _refuse_ownership),
        ):
            events.register(f"before-call.s3.{name}", partial(refuse, made), unique_id=name)
        yield made


def grants(looked_at: BucketPermissions) -> set[tuple[str, str]]:
    """Grantee and permission of what the ACL grants to others than the owner."""
    answer = looked_at.s3.get_bucket_acl(Bucket=NAME)
    return {
        (grant["Grantee"].get("ID") or grant["Grantee"]["URI"], grant["Permission"])
        for grant in answer["Grants"]
        if grant["Grantee"].get("ID") != answer["Owner"]["ID"]
    }


def _refuse_acl(bucket: BucketPermissions, **_: Any) -> Any:
    if ObjectOwnership(bucket).read() == "BucketOwnerEnforced":
        return refusal(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
    return None


def _refuse_ownership(bucket: BucketPermissions, params: Any, **_: Any) -> Any:
    if "BucketOwnerEnforced" in str(params["body"]) and grants(bucket):
        return refusal(
            400,
            "InvalidBucketAclWithObjectOwnership",
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        )
    return None


def refusal(status: int, code: str, message: str) -> Any:
    """What S3 answers in place of carrying a request out."""
    parsed = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {}}
    return SimpleNamespace(status_code=status), parsed
