"""Bucket policies: AWS's principals and the gateway's accounts, there and back.

The gateway's account of an AWS account is named by the account's canonical ID, that of a role, a
user or a service by the principal itself, quoted. So a translated policy can be translated back
without anything else.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote, unquote

from snapferry_sandbox.iam_policies import Decision, Policy, evaluate, several
from snapferry_sandbox.s3.errors import malformed_policy

_SIZE_LIMIT_BYTES = 20 * 1024
_ELEMENTS = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
# The gateway takes these keys, but never gives them a value: the condition would be decided wrong.
_CONDITION_KEYS_WITHOUT_VALUE = {
    "aws:multifactorauthage",
    "aws:principalarn",
    "aws:userid",
    "aws:username",
}
_ACCOUNT = re.compile(r"(?:arn:aws:iam::)?(?P<number>\d{12})(?::root)?")
_PRINCIPAL_ARN = re.compile(
    r"arn:aws:(iam::\d{12}:(user|role)/[\w+=,.@/-]+|sts::\d{12}:assumed-role/[\w+=,.@/-]+)"
)
_SERVICE = "Service:"


def parse(text: bytes) -> dict[str, Any]:
    """Parse a bucket policy, and refuse what the gateway would pass over in silence.

    Raises:
        S3Error: the policy is malformed, or asks for what the gateway doesn't know.
    """
    if len(text) > _SIZE_LIMIT_BYTES:
        raise malformed_policy("Policies exceed the maximum allowed document size.")
    try:
        policy = json.loads(text)
    except ValueError as error:
        raise malformed_policy("This policy contains invalid Json") from error
    if not isinstance(policy, dict) or "Statement" not in policy:
        raise malformed_policy("Missing required field Statement")
    for statement in _statements(policy):
        if not isinstance(statement, dict):
            raise malformed_policy("Invalid policy syntax.")
        if unknown := statement.keys() - _ELEMENTS:
            raise malformed_policy(f"The sandbox doesn't know {', '.join(sorted(unknown))}.")
        if not statement.keys() >= {"Effect", "Principal", "Action", "Resource"}:
            raise malformed_policy("Missing required field in a statement")
        for keys in statement.get("Condition", {}).values():
            for key in keys:
                if key.lower() in _CONDITION_KEYS_WITHOUT_VALUE:
                    raise malformed_policy(f"The sandbox doesn't know the condition key {key}.")
    return policy


def to_gateway(policy: Mapping[str, Any], canonical_ids: Mapping[str, str]) -> dict[str, Any]:
    """Return the policy with the gateway's accounts in place of AWS's principals.

    Args:
        policy: see `parse`.
        canonical_ids: of all AWS accounts, by their numbers.

    Raises:
        S3Error: it names a principal that can't exist.
    """

    def translate(kind: str, principal: str) -> str:
        account = _ACCOUNT.fullmatch(principal)
        if kind == "AWS" and account and account["number"] in canonical_ids:
            return canonical_ids[account["number"]]
        if kind == "CanonicalUser" and principal in canonical_ids.values():
            return principal
        if kind == "Service":
            return gateway_account(f"{_SERVICE}{principal}")
        if kind == "AWS" and _PRINCIPAL_ARN.fullmatch(principal):
            return gateway_account(principal)
        if (kind, principal) == ("AWS", "*"):
            return principal
        raise malformed_policy("Invalid principal in policy")

    def all_of(principal: Any) -> Any:
        if principal == "*":
            return principal
        if not isinstance(principal, dict):
            raise malformed_policy("Invalid policy syntax.")
        return {
            "AWS": [
                translate(kind, each) for kind, some in principal.items() for each in several(some)
            ]
        }

    return _with_principals(policy, all_of)


def from_gateway(policy: Mapping[str, Any], canonical_ids: Mapping[str, str]) -> dict[str, Any]:
    """Return the policy as it was before `to_gateway`, accounts named by their ARNs as AWS does."""
    numbers = {canonical_id: number for number, canonical_id in canonical_ids.items()}

    def all_of(principal: Any) -> Any:
        if principal == "*":
            return principal
        named: dict[str, list[str]] = {}
        for account in principal["AWS"]:
            if number := numbers.get(account):
                named.setdefault("AWS", []).append(f"arn:aws:iam::{number}:root")
                continue
            arn = unquote(account)
            kind = "Service" if arn.startswith(_SERVICE) else "AWS"
            named.setdefault(kind, []).append(arn.removeprefix(_SERVICE))
        return {kind: some[0] if len(some) == 1 else some for kind, some in named.items()}

    return _with_principals(policy, all_of)


def document(policy: Mapping[str, Any]) -> bytes:
    """Write a policy as AWS does, without blanks."""
    return json.dumps(policy, separators=(",", ":")).encode()


def role_arns(policy: Mapping[str, Any]) -> set[str]:
    """Return the roles that a policy names, as AWS writes it."""
    principals = [statement["Principal"] for statement in _statements(policy)]
    return {
        arn
        for principal in principals
        if principal != "*"
        for arn in several(principal.get("AWS", []))
        if ":role/" in arn
    }


def gateway_account(principal: str) -> str:
    """Return the name of the gateway's account for a role, a user or a service."""
    return quote(principal, safe=":")


def named_accounts(policy: Mapping[str, Any]) -> set[str]:
    """Return the gateway's accounts that a translated policy names."""
    principals = [statement["Principal"] for statement in _statements(policy)]
    return {
        account
        for principal in principals
        if principal != "*"
        for account in principal["AWS"]
        if account != "*"
    }


def decide(
    policy: Mapping[str, Any],
    principals: Collection[str],
    action: str,
    resource: str,
    context: Mapping[str, str],
) -> Decision:
    """Decide a request by a bucket's policy.

    Args:
        policy: as AWS writes it.
        principals: all names of the caller: ARNs of the session, of the role, of the account.
        action: such as `s3:GetObject`.
        resource: an ARN.
        context: the request's condition keys and their values.
    """
    statements = [
        statement
        for statement in _statements(policy)
        if _covers(statement["Principal"], principals)
    ]
    return evaluate([{"Statement": statements}], action, resource, context)


def _covers(principal: Any, principals: Collection[str]) -> bool:
    if principal == "*":
        return True
    named = several(principal.get("AWS", []))
    return any(name == "*" or name in principals for name in named)


def _with_principals(policy: Mapping[str, Any], translate: Callable[[Any], Any]) -> dict[str, Any]:
    statements = [
        statement | {"Principal": translate(statement["Principal"])}
        for statement in _statements(policy)
    ]
    return {**policy, "Statement": statements}


def _statements(policy: Policy) -> list[dict[str, Any]]:
    return several(policy["Statement"])
