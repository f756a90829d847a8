"""Who calls the domain, and what IAM lets them do there."""

from collections.abc import Mapping
from dataclasses import dataclass

from snapferry_sandbox.amazon_domain.refusals import RefusedError
from snapferry_sandbox.iam_policies import Decision, Policy, Roles, evaluate
from snapferry_sandbox.identities import Identity

_ADMINISTRATOR_POLICY: Policy = {
    "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"},
}


@dataclass(frozen=True)
class Caller:
    """The identity that signed a request."""

    arn: str
    """As IAM's messages name it: of a role, the session's ARN."""
    principal: str
    """The ARN that is mapped to roles on the domain: of a role, the role's own."""
    policies: tuple[Policy, ...]

    def require(
        self, action: str, resource: str, context: Mapping[str, str], *, told: str = ""
    ) -> None:
        """Check that the caller's policies allow an action.

        Args:
            action: such as `es:ESHttpGet`.
            resource: ARN of what is acted on.
            context: the request's condition keys and their values.
            told: what the message tells of the resource.

        Raises:
            RefusedError: they don't.
        """
        decision = evaluate(self.policies, action, resource, context)
        if decision is Decision.ALLOWED:
            return
        reason = (
            "with an explicit deny in an identity-based policy"
            if decision is Decision.DENIED
            else f"because no identity-based policy allows the {action} action"
        )
        raise not_authorized(self.arn, f"{action}{told}", reason)


def identify(identity: Identity, roles: Roles) -> Caller:
    """Return the caller behind a key of the domain's account; blocks while IAM is asked.

    The account's root may do everything; an IAM user has no policies here, so may do nothing.

    Args:
        identity: whose key signed.
        roles: of the domain's account.
    """
    principal = identity.principal_arn
    if principal.endswith(":root"):
        return Caller(identity.arn, principal, (_ADMINISTRATOR_POLICY,))
    role = roles.get(principal.rpartition("/")[2]) if ":role/" in principal else None
    if role is None:
        return Caller(identity.arn, principal, ())
    return Caller(identity.arn, role.arn, role.identity_policies)


def not_authorized(arn: str, action: str, reason: str) -> RefusedError:
    """Return IAM's refusal."""
    return RefusedError(
        403, {"Message": f"User: {arn} is not authorized to perform: {action} {reason}"}
    )
