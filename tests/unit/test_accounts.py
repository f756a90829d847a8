"""The roles of accounts/ may do what the code does with them, and nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]

from snapferry.access import Bucket, _statements
from tests.unit.conftest import DOMAIN_AS_DESTINATION, MakeJob

ROOT = Path(__file__).parents[2]
DOMAINS: dict[str, Any] = yaml_parse((ROOT / "accounts/source.yaml").read_text())["Resources"]
BUCKET: dict[str, Any] = yaml_parse((ROOT / "accounts/bucket.yaml").read_text())["Resources"]


def statements(policy: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that are there under any condition."""
    document = policy["Properties"]["PolicyDocument"]
    return [statement for statement in document["Statement"] if "Fn::If" not in statement]


def actions(listed: list[dict[str, Any]]) -> set[str]:
    return {
        action
        for statement in listed
        for action in (
            [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        )
    }


def test_the_bucket_access_role_may_make_the_requests_that_the_code_makes() -> None:
    text = (ROOT / "functions/snapferry/access.py").read_text()
    requests = set(re.findall(r"\.s3\.((?:get|put|delete)_bucket_\w+)\(", text))
    # The right to take ownership controls away is that to put them.
    rights = {request.replace("delete_bucket_own", "put_bucket_own") for request in requests}

    assert actions(statements(BUCKET["BucketAccessPolicy"])) == {
        f"s3:{right.title().replace('_', '')}" for right in rights
    }


def test_the_snapshot_role_may_do_what_the_buckets_policy_lets_it_do(make_job: MakeJob) -> None:
    of_bucket = list(_statements(Bucket(None, "b"), [make_job()]))  # type: ignore[arg-type]
    of_role = [
        *statements(DOMAINS["ReadSnapshotsPolicy"]),
        *statements(DOMAINS["WriteSnapshotsPolicy"]),
    ]

    assert actions(of_role) == actions(of_bucket)
    for listed in (of_role, of_bucket):
        assert [statement["Action"] for statement in listed if "Condition" in statement] == [
            "s3:ListBucket"
        ]


def test_a_role_that_reads_may_do_what_the_buckets_policy_lets_a_destination_do(
    make_job: MakeJob,
) -> None:
    job = make_job(mode="restore_only", destination=DOMAIN_AS_DESTINATION)
    of_bucket = list(_statements(Bucket(None, "b"), [job]))  # type: ignore[arg-type]

    assert DOMAINS["WriteSnapshotsPolicy"]["Condition"] == "Writes"
    assert actions(statements(DOMAINS["ReadSnapshotsPolicy"])) == actions(of_bucket)
    assert {statement["Principal"]["AWS"] for statement in of_bucket} == {
        DOMAIN_AS_DESTINATION["snapshot_role_arn"]
    }


@pytest.mark.parametrize(
    ("role", "conditions"),
    [
        (DOMAINS["SnapshotRole"], {"aws:SourceAccount", "aws:SourceArn"}),
        (DOMAINS["DomainAccessRole"], {"aws:PrincipalArn"}),
        (BUCKET["BucketAccessRole"], {"aws:PrincipalArn", "sts:ExternalId"}),
    ],
    ids=["SnapshotRole", "DomainAccessRole", "BucketAccessRole"],
)
def test_nobody_else_may_assume_a_role(role: dict[str, Any], conditions: set[str]) -> None:
    [statement] = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]

    assert {key for keys in statement["Condition"].values() for key in keys} == conditions


def test_the_snapshot_role_is_passed_to_the_service_alone() -> None:
    [passing] = [
        statement
        for statement in statements(DOMAINS["CallDomainsPolicy"])
        if statement["Action"] == "iam:PassRole"
    ]

    # A domain's own API, unlike the service's, isn't documented to name the service.
    assert passing["Condition"] == {
        "StringEqualsIfExists": {"iam:PassedToService": "es.amazonaws.com"}
    }
