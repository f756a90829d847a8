"""Registering a snapshot repository: the caller passes a role, by which the domain reaches S3."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from snapferry_sandbox.amazon_domain.callers import Caller
from snapferry_sandbox.amazon_domain.configuration import Configuration
from snapferry_sandbox.amazon_domain.refusals import (
    RefusedError,
    joined,
    parsed,
    payload_not_allowed,
)
from snapferry_sandbox.iam_policies import Roles, trusts

_SERVICE_PRINCIPALS = frozenset({"es.amazonaws.com", "opensearchservice.amazonaws.com"})


def check_registration(
    path: Sequence[str],
    body: bytes,
    caller: Caller,
    roles: Roles,
    configuration: Configuration,
) -> dict[str, Any]:
    """Return a repository's definition if the service would register it; blocks while IAM is asked.

    Args:
        path: the request's segments, decoded: `_snapshot` and the repository's name.
        body: of the request.
        caller: who registers it.
        roles: of the domain's account.
        configuration: of the domain.

    Raises:
        RefusedError: the service would not.
    """
    definition = parsed(path, body)
    settings = definition.get("settings")
    if definition.get("type") != "s3" or not isinstance(settings, dict):
        raise payload_not_allowed(joined(path))
    role_arn = settings.get("role_arn")
    if not isinstance(role_arn, str):
        message = "settings.role_arn is needed for snapshot registration."
        raise RefusedError(401, {"Message": message})
    if not role_arn.startswith(f"arn:aws:iam::{configuration.account}:role/"):
        raise RefusedError(403, {"Message": "Cross-account pass role is not allowed."})
    caller.require(
        "iam:PassRole",
        role_arn,
        {"iam:PassedToService": "es.amazonaws.com"},
        told=f" on resource: {role_arn}",
    )
    role = roles.get(role_arn.rpartition("/")[2])
    source = {
        "aws:SourceAccount": configuration.account,
        "aws:SourceArn": configuration.domain_arn,
    }
    if (
        role is None
        or role.arn != role_arn
        or not trusts(role.trust_policy, _SERVICE_PRINCIPALS, source)
    ):
        raise _cannot_assume(path[-1], settings, configuration)
    return definition


def for_node(definition: dict[str, Any]) -> bytes:
    """Return a definition as the domain's node gets it.

    The node's own S3 client already has the sandbox's endpoint; it ignores `role_arn`, which stays
    so that it is listed with the other settings.
    """
    settings = {name: value for name, value in definition["settings"].items() if name != "endpoint"}
    return json.dumps({**definition, "settings": settings}).encode()


def _cannot_assume(
    repository: str, settings: Mapping[str, Any], configuration: Configuration
) -> RefusedError:
    # On AWS it is the node that fails, when it verifies the repository by writing to it.
    service = f"swift-{configuration.region}-prod-{configuration.account}"
    base_path = settings.get("base_path", "")
    verification = {
        "type": "repository_verification_exception",
        "reason": f"[{repository}] path [{base_path}] is not accessible on cluster-manager node",
    }
    upload = {
        "type": "i_o_exception",
        "reason": f"Unable to upload object [{base_path}/tests/master.dat] using a single upload",
    }
    token = {
        "type": "sts_exception",
        "reason": (
            f"User: arn:aws:sts::000000000000:assumed-role/cp-sts-grant-role/{service} is not "
            f"authorized to perform: sts:AssumeRole on resource: {settings['role_arn']} "
            "(Service: Sts, Status Code: 403)"
        ),
    }
    caused_by = {**upload, "caused_by": token}
    error = {"root_cause": [verification], **verification, "caused_by": caused_by}
    return RefusedError(500, {"error": error, "status": 500})
