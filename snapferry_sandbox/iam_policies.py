"""IAM's decisions by the policies of roles, which LocalStack keeps but doesn't enforce.

How a request is decided:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import enum
import math
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import boto3

type Policy = Mapping[str, Any]
"""A policy document, parsed from its JSON."""

_CACHE_SECONDS = 2.0  # IAM itself takes seconds to spread a change


class Decision(enum.Enum):
    """What policies say about a request."""

    ALLOWED = enum.auto()
    NOT_ALLOWED = enum.auto()
    """No statement allows it."""
    DENIED = enum.auto()
    """A statement denies it, whatever others allow."""


@dataclass(frozen=True)
class Role:
    """A role as IAM holds it."""

    arn: str
    trust_policy: Policy
    identity_policies: tuple[Policy, ...]
    """Its inline and its attached policies."""


class Roles:
    """The roles of one account."""

    def __init__(self, endpoint: str, account: str, region: str) -> None:
        """Make a reader.

        Args:
            endpoint: URL of LocalStack.
            account: number of the account.
            region: any; signatures need one.
        """
        self._iam = boto3.client(
            "iam",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=account,
            aws_secret_access_key="not checked",  # noqa: S106
        )
        self._cache: dict[str, tuple[float, Role | None]] = {}

    def get(self, name: str) -> Role | None:
        """Return the role of that name (its path left out), as of some seconds ago; or None."""
        read_at, role = self._cache.get(name, (-math.inf, None))
        if time.monotonic() - read_at > _CACHE_SECONDS:
            role = self._read(name)
            self._cache[name] = (time.monotonic(), role)
        return role

    # boto3 parses the documents, though its types don't promise it.

    def _read(self, name: str) -> Role | None:
        try:
            role = self._iam.get_role(RoleName=name)["Role"]
        except self._iam.exceptions.NoSuchEntityException:
            return None
        return Role(
            arn=role["Arn"],
            trust_policy=cast("Policy", role["AssumeRolePolicyDocument"]),
            identity_policies=(*self._inline(name), *self._attached(name)),
        )

    def _inline(self, name: str) -> Iterator[Policy]:
        for page in self._iam.get_paginator("list_role_policies").paginate(RoleName=name):
            for policy in page["PolicyNames"]:
                found = self._iam.get_role_policy(RoleName=name, PolicyName=policy)
                yield cast("Policy", found["PolicyDocument"])

    def _attached(self, name: str) -> Iterator[Policy]:
        for page in self._iam.get_paginator("list_attached_role_policies").paginate(RoleName=name):
            for attached in page["AttachedPolicies"]:
                arn = attached["PolicyArn"]
                version = self._iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
                found = self._iam.get_policy_version(PolicyArn=arn, VersionId=version)
                yield cast("Policy", found["PolicyVersion"]["Document"])


def evaluate(
    policies: Iterable[Policy], action: str, resource: str, context: Mapping[str, str]
) -> Decision:
    """Decide a request by the policies of the identity that makes it.

    A condition whose operator is not known here never allows, and always denies.

    Args:
        policies: all identity policies of the caller.
        action: such as `es:ESHttpGet`.
        resource: an ARN.
        context: the request's condition keys and their values.
    """
    decision = Decision.NOT_ALLOWED
    for policy in policies:
        for statement in several(policy["Statement"]):
            if not _applies(statement, action, resource, context):
                continue
            if statement["Effect"] == "Deny":
                return Decision.DENIED
            decision = Decision.ALLOWED
    return decision


def trusts(trust_policy: Policy, principals: Collection[str], context: Mapping[str, str]) -> bool:
    """Whether a role's trust policy lets somebody assume it.

    Args:
        trust_policy: of the role.
        principals: all names of the caller: service principals such as `es.amazonaws.com`, or the
            ARNs of the session, of its role and of its account.
        context: the condition keys of the request, and their values.
    """
    # A trust policy names no resource: it is about the role that holds it.
    statements = [
        {**statement, "Resource": "*"}
        for statement in several(trust_policy["Statement"])
        if _names(statement.get("Principal"), principals)
    ]
    decision = evaluate([{"Statement": statements}], "sts:AssumeRole", "*", context)
    return decision is Decision.ALLOWED


def _names(principal: Any, principals: Collection[str]) -> bool:
    if isinstance(principal, str):
        return principal == "*"
    named = [name for kind in (principal or {}).values() for name in several(kind)]
    return "*" in named or any(name in principals for name in named)


def _applies(statement: Policy, action: str, resource: str, context: Mapping[str, str]) -> bool:
    return (
        _selects(statement, "Action", action.lower(), str.lower)
        and _selects(statement, "Resource", resource, str)
        and _conditions_hold(statement, context)
    )


def _selects(statement: Policy, element: str, value: str, normalize: Callable[[str], str]) -> bool:
    def matches(patterns: str | list[str]) -> bool:
        return any(_like(value, normalize(pattern)) for pattern in several(patterns))

    if element in statement:
        return matches(statement[element])
    excluded = f"Not{element}"
    return excluded in statement and not matches(statement[excluded])


def _conditions_hold(statement: Policy, context: Mapping[str, str]) -> bool:
    values = {key.lower(): value for key, value in context.items()}
    return all(
        _holds(operator, values.get(key.lower()), several(wanted), statement["Effect"])
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


def _holds(operator: str, value: str | None, wanted: list[Any], effect: str) -> bool:
    name = operator.removesuffix("IfExists")
    negated = name not in _COMPARISONS
    compare = _COMPARISONS.get(name.replace("Not", "", 1) if negated else name)
    if compare is None:
        return effect == "Deny"
    if value is None:
        return negated or name != operator
    return negated != any(compare(value, _text(one)) for one in wanted)


def _like(value: str, pattern: str) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL) is not None


def _arn_like(value: str, pattern: str) -> bool:
    # A wildcard stays within one of the six parts of an ARN.
    parts, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(patterns) and all(map(_like, parts, patterns))


_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "StringLike": _like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
}
"""Each of these has a counterpart with `Not` in its name, except Bool."""


def several(value: Any) -> list[Any]:
    """A list, of which IAM's JSON leaves out the brackets where it has one value."""
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
