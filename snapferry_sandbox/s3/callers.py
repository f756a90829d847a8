"""Who calls, and what IAM lets them do."""

import itertools
from collections.abc import Collection
from dataclasses import dataclass

from snapferry_sandbox.iam_policies import Decision, Policy, Role, evaluate
from snapferry_sandbox.identities import Identity
from snapferry_sandbox.s3 import policies
from snapferry_sandbox.s3.buckets import Bucket
from snapferry_sandbox.s3.errors import S3Error, access_denied
from snapferry_sandbox.s3.operations import Operation

_EVERYTHING: Policy = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


@dataclass(frozen=True)
class Caller:
    """An AWS principal that makes a request."""

    account: str
    """Number of its AWS account."""
    arn: str
    """As messages name it: of a role, the session's ARN."""
    principals: tuple[str, ...]
    """What a bucket policy may name it by, besides its account: session and role, or user."""
    identity_policies: tuple[Policy, ...]

    def authorize(self, operation: Operation, keys: Collection[str], bucket: Bucket | None) -> None:
        """Check what the gateway can't: identity policies, and all of the bucket's own account.

        In the account of the bucket, identity and bucket policy together decide. In another one
        the identity's policies must allow it, and so must the bucket: that is left to the gateway,
        except for actions that it doesn't tell apart.
        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

        Args:
            operation: what is wanted.
            keys: the objects it is about; one empty key when it is about the bucket.
            bucket: None if it doesn't exist.

        Raises:
            S3Error: the caller may not.
        """
        policy = bucket.policy if bucket else None
        names = (*self.principals, f"arn:aws:iam::{self.account}:root", self.account)
        for action, key in itertools.product(operation.actions, keys):
            resource = operation.resource(key)
            by_identity = evaluate(self.identity_policies, action, resource, operation.context)
            by_bucket = (
                policies.decide(policy, names, action, resource, operation.context)
                if policy
                else Decision.NOT_ALLOWED
            )
            if Decision.DENIED in (by_identity, by_bucket):
                raise self._refusal(action, resource, "with an explicit deny in a policy")
            if self._owns(bucket):
                allowed = Decision.ALLOWED in (by_identity, by_bucket)
            elif policy and action in operation.unenforced_actions:
                allowed = by_identity is by_bucket is Decision.ALLOWED
            else:
                allowed = by_identity is Decision.ALLOWED
            if not allowed:
                raise self._refusal(action, resource, f"because no policy allows {action}")

    def gateway_account(self, bucket: Bucket | None, canonical_id: str) -> str:
        """Return under which of the gateway's accounts the caller's request is made.

        Args:
            bucket: None if it doesn't exist.
            canonical_id: of the caller's AWS account.
        """
        if bucket and not self._owns(bucket):
            for principal in self.principals:
                account = policies.gateway_account(principal)
                if account in bucket.gateway_accounts:
                    return account
        return canonical_id

    def _owns(self, bucket: Bucket | None) -> bool:
        return bucket is None or bucket.owner == self.account

    def _refusal(self, action: str, resource: str, reason: str) -> S3Error:
        return access_denied(
            f"User: {self.arn} is not authorized to perform: {action} on resource: "
            f'"{resource}" {reason}'
        )


def user(identity: Identity) -> Caller:
    """Return the caller that is a user or an account's root; the sandbox lets it do everything."""
    return Caller(identity.account, identity.arn, (identity.arn,), (_EVERYTHING,))


def role_session(arn: str, role: Role | None) -> Caller:
    """Return the caller that is the session of a role.

    Args:
        arn: of the session.
        role: as IAM knows it; None if it does not, then the caller may do nothing.
    """
    account = arn.split(":")[4]
    if role is None:
        return Caller(account, arn, (arn,), ())
    return Caller(account, arn, (arn, role.arn), role.identity_policies)
