"""What the real parts refuse, and what the workflow makes of it.

The product itself never signs with a wrong secret or for another service, and never lets the
destination write: for these a word of the deployed code is changed.
"""

import json
from typing import Any

import boto3
import pytest

from tests.sandbox.migrations import Sandbox, fill

INDEX = "refused-1"


@pytest.fixture(autouse=True)
def index(sandbox: Sandbox) -> None:
    fill(sandbox.source, INDEX, 10)


def assert_refused(
    sandbox: Sandbox, *words: str, error: str = "AccessDenied", **changes: Any
) -> None:
    before = sandbox.repositories()
    outcome = sandbox.migrate(sandbox.request(INDEX, **changes))
    assert (outcome.status, outcome.error) == ("FAILED", error)
    for word in ("403", "What to do: ", *words):
        assert word in outcome.cause
    assert sandbox.repositories() == before
    assert not sandbox.destination.indices.exists(index=INDEX)


def test_wrong_secret(sandbox: Sandbox) -> None:
    with sandbox.changed_code(
        "list_indices",
        "snapferry/clients.py",
        "return fetcher.fetch_credentials()",
        "return {**fetcher.fetch_credentials(), 'secret_key': 'wrong'}",
    ):
        assert_refused(sandbox, "signature we calculated does not match", "access_role_arn")


@pytest.mark.exhaustive
def test_wrong_service(sandbox: Sandbox) -> None:
    with sandbox.changed_code(
        "list_indices", "snapferry/clients.py", 'service="es"', 'service="aoss"'
    ):
        assert_refused(sandbox, "scoped to correct service", "access_role_arn")


def test_role_that_is_not_mapped(sandbox: Sandbox) -> None:
    account = sandbox.world.aws.accounts["source"]
    iam = boto3.client(
        "iam",
        endpoint_url=sandbox.world.aws.endpoint,
        region_name=sandbox.world.aws.region,
        aws_access_key_id=account,
        aws_secret_access_key="test",
    )
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    calls = {"Effect": "Allow", "Action": "es:ESHttp*", "Resource": "*"}
    role = iam.create_role(
        RoleName="Stranger", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]})
    )["Role"]["Arn"]
    policy = {"Version": "2012-10-17", "Statement": [calls]}
    iam.put_role_policy(RoleName="Stranger", PolicyName="calls", PolicyDocument=json.dumps(policy))
    try:
        assert_refused(
            sandbox,
            "lacks permissions",
            "domains[].master_user",
            domain__access_role_arn=role,
            domain__master_user=None,
        )
    finally:
        iam.delete_role_policy(RoleName="Stranger", PolicyName="calls")
        iam.delete_role(RoleName="Stranger")


def test_source_without_permission_on_the_bucket(sandbox: Sandbox) -> None:
    assert_refused(
        sandbox,
        "its policy has to allow the source's snapshot_role_arn",
        error="BucketDenied",
        bucket__access=None,
    )


def test_destination_that_writes_to_the_bucket(sandbox: Sandbox) -> None:
    with sandbox.changed_code(
        "register_destination_repository",
        "snapferry/repositories.py",
        '"readonly": "true"',
        '"readonly": "false"',
    ):
        assert_refused(
            sandbox, "destination's own identity to list and read them", error="BucketDenied"
        )
