"""The migration bucket on moto's S3, as the product's own client of it, with what S3 refuses.

moto keeps a bucket's policy, ownership and ACL, but lets them contradict each other, and shows each
change at once. S3's configuration of a bucket is eventually consistent.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError
from moto import mock_aws

from snapferry import clients, request
from snapferry.access import BucketPermissions, ObjectOwnership

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = "company-migration"
STATEMENT = {
    "Sid": "Theirs",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": [f"arn:aws:s3:::{NAME}/*", f"arn:aws:s3:::{NAME}"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


@dataclass
class Lag:
    """How far S3 is behind, after each change of a bucket's policy, ownership or ACL.

    Attributes:
        looks: so many of the next ones at what was changed show what was there before.
        judgements: so many of the next changes of ownership or ACL are judged by what was there.
        waits: how long the product waited, each time.
    """

    looks: float = 0
    judgements: float = 0
    waits: list[float] = field(default_factory=list)
    _before: dict[str, Any] = field(default_factory=dict)
    _left: dict[tuple[str, str], float] = field(default_factory=dict)

    def remember(self, model: Any, **_: Any) -> None:
        """Before a change: keeps what was there."""
        kind = _kind(model)
        self._before[kind] = _answer(kind)
        self._left["look", kind] = self.looks
        self._left["judgement", kind] = self.judgements

    def look(self, model: Any, **_: Any) -> Any:
        """Before a look: what S3 shows in place of what is there, if anything."""
        return self._stale("look", _kind(model))

    def judge(self, model: Any, params: Any, **_: Any) -> Any:
        """Before a change of ownership or ACL: how S3 refuses it, if it does."""
        if model.name == "PutBucketAcl" and self._ownership() == "BucketOwnerEnforced":
            return refusal(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
        if "BucketOwnerEnforced" in str(params["body"]) and _grants_of(self._judged_by("Acl")):
            return refusal(
                400,
                "InvalidBucketAclWithObjectOwnership",
                "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            )
        return None

    def _ownership(self) -> Any:
        answer = self._judged_by("OwnershipControls")
        if "OwnershipControls" not in answer:
            return None
        return answer["OwnershipControls"]["Rules"][0]["ObjectOwnership"]

    def _judged_by(self, kind: str) -> Any:
        _, answer = self._stale("judgement", kind) or _answer(kind)
        return answer

    def _stale(self, to: str, kind: str) -> Any:
        if self._left.get((to, kind), 0) <= 0:
            return None
        self._left[to, kind] -= 1
        return self._before[kind]


@contextmanager
def bucket(
    ownership: Any = "BucketOwnerEnforced", lag: Lag | None = None
) -> Iterator[BucketPermissions]:
    """A bucket without a policy; as AWS makes it unless another ownership is said."""
    lag = lag or Lag()
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
        made = replace(made, sleep=lag.waits.append)
        made.s3.create_bucket(
            Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        if ownership:
            ObjectOwnership(made).write(ownership)
        # The client is kept for the next test. What is refused changes nothing.
        handlers: list[tuple[str, Callable[..., Any]]] = [
            ("PutBucketAcl", lag.judge),
            ("PutBucketOwnershipControls", lag.judge),
        ]
        for kind in ("Policy", "OwnershipControls", "Acl"):
            handlers.append((f"GetBucket{kind}", lag.look))
            handlers += [(f"{verb}Bucket{kind}", lag.remember) for verb in ("Put", "Delete")]
        events: Any = made.s3.meta.events
        for operation, handler in handlers:
            events.register(f"before-call.s3.{operation}", handler)
        try:
            yield made
        finally:
            for operation, handler in handlers:
                events.unregister(f"before-call.s3.{operation}", handler)


def grants(looked_at: BucketPermissions) -> set[tuple[str, str]]:
    """Grantee and permission of what the ACL grants to others than the owner."""
    return _grants_of(looked_at.s3.get_bucket_acl(Bucket=NAME))


def _grants_of(acl: Any) -> set[tuple[str, str]]:
    return {
        (grant["Grantee"].get("ID") or grant["Grantee"]["URI"], grant["Permission"])
        for grant in acl["Grants"]
        if grant["Grantee"].get("ID") != acl["Owner"]["ID"]
    }


def _kind(model: Any) -> str:
    """What an operation is about, such as `Policy`."""
    return str(model.name).partition("Bucket")[2]


def _answer(kind: str) -> Any:
    """What a look shows that isn't behind: status and body."""
    look = {
        "Policy": _plain_s3().get_bucket_policy,
        "OwnershipControls": _plain_s3().get_bucket_ownership_controls,
        "Acl": _plain_s3().get_bucket_acl,
    }[kind]
    answer: Any
    try:
        answer = look(Bucket=NAME)
    except ClientError as error:
        answer = error.response
    return SimpleNamespace(status_code=answer["ResponseMetadata"]["HTTPStatusCode"]), answer


@functools.cache
def _plain_s3() -> "S3Client":
    """Kept, since to make one takes far longer than a test."""
    return boto3.client(
        "s3",
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def refusal(status: int, code: str, message: str) -> Any:
    """What S3 answers in place of carrying a request out."""
    parsed = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {}}
    return SimpleNamespace(status_code=status), parsed
