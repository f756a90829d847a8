"""The roles of accounts/ may do what the code does with them, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]

from snapferry import request
from snapferry.access import BucketPermissions, _statements
from snapferry_sandbox.iam_policies import Decision, evaluate, trusts
from tests.unit.conftest import DOMAIN_AS_DESTINATION, MakeJob
from tests.unit.templates import resolved

ROOT = Path(__file__).parents[2]
DOMAINS: dict[str, Any] = yaml_parse((ROOT / "accounts/source.yaml").read_text())["Resources"]
BUCKET: dict[str, Any] = yaml_parse((ROOT / "accounts/bucket.yaml").read_text())["Resources"]
DOMAIN = "arn:aws:es:eu-west-1:111111111111:domain/logs"
BUCKET_ARN = "arn:aws:s3:::company-migration"
KEY = "arn:aws:kms:eu-west-1:444444444444:key/1"
FUNCTION_ROLE = "arn:aws:iam::222222222222:role/snapferry-CatchUpFunctionRole-1"
SNAPSHOT_ROLE = "arn:aws:iam::111111111111:role/SnapferrySnapshot"
EXISTING_ROLE = "arn:aws:iam::111111111111:role/theirs"
# Of the stack in an account with domains, and of that in the bucket's.
VALUES: dict[str, Any] = {
    "AWS::Partition": "aws",
    "AWS::AccountId": "111111111111",
    "SnapferryAccountId": "222222222222",
    "SnapferryRoleNames": "snapferry-*",
    "ExternalId": "any-text",
    "DomainArns": [DOMAIN],
    "DomainPathArns": [f"{DOMAIN}/*"],
    "BucketName": "company-migration",
    "BasePath": "snapferry",
    "KmsKeyArn": KEY,
    "SnapshotRole.Arn": SNAPSHOT_ROLE,
    "ExistingSnapshotRoleName": "theirs",
}


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
    of_bucket = list(_statements(BucketPermissions(None, "b"), [make_job()]))  # type: ignore[arg-type]
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
    of_bucket = list(_statements(BucketPermissions(None, "b"), [job]))  # type: ignore[arg-type]

    assert DOMAINS["WriteSnapshotsPolicy"]["Condition"] == "Writes"
    assert actions(statements(DOMAINS["ReadSnapshotsPolicy"])) == actions(of_bucket)
    assert {statement["Principal"]["AWS"] for statement in of_bucket} == {
        DOMAIN_AS_DESTINATION["snapshot_role_arn"]
    }


def policy(name: str, *conditions: str) -> Any:
    """A policy of an account's stack in which these conditions hold."""
    properties = (DOMAINS | BUCKET)[name]["Properties"]
    return resolved(properties["PolicyDocument"], VALUES, conditions)


def trust_policy(role: str) -> Any:
    properties = (DOMAINS | BUCKET)[role]["Properties"]
    return resolved(properties["AssumeRolePolicyDocument"], VALUES)


# Each guard holds without the others.
@pytest.mark.parametrize("role", ["DomainAccessRole", "BucketAccessRole"])
@pytest.mark.parametrize(
    ("account", "caller", "trusted"),
    [
        ("222222222222", FUNCTION_ROLE, True),
        ("222222222222", "arn:aws:iam::222222222222:role/Admin", False),
        ("222222222222", "arn:aws:iam::222222222222:user/snapferry-1", False),
        ("222222222222", FUNCTION_ROLE.replace("222222222222", "333333333333"), False),
        ("333333333333", FUNCTION_ROLE, False),
    ],
)
def test_functions_of_the_stack_alone_may_assume_a_role(
    role: str, account: str, caller: str, trusted: bool
) -> None:
    context = {"aws:PrincipalArn": caller, "sts:ExternalId": VALUES["ExternalId"]}

    assert trusts(trust_policy(role), {f"arn:aws:iam::{account}:root"}, context) is trusted


@pytest.mark.parametrize("given", [{}, {"sts:ExternalId": "another"}])
def test_the_bucket_access_role_asks_for_its_external_id(given: dict[str, str]) -> None:
    context = {"aws:PrincipalArn": FUNCTION_ROLE, **given}

    assert not trusts(trust_policy("BucketAccessRole"), {"arn:aws:iam::222222222222:root"}, context)


@pytest.mark.parametrize(
    ("service", "account", "domain", "trusted"),
    [
        ("es.amazonaws.com", "111111111111", DOMAIN, True),
        ("lambda.amazonaws.com", "111111111111", DOMAIN, False),
        ("es.amazonaws.com", "333333333333", DOMAIN, False),
        ("es.amazonaws.com", "111111111111", f"{DOMAIN}-2", False),
    ],
)
def test_the_service_alone_may_assume_the_snapshot_role_and_for_the_domains(
    service: str, account: str, domain: str, trusted: bool
) -> None:
    context = {"aws:SourceAccount": account, "aws:SourceArn": domain}

    assert trusts(trust_policy("SnapshotRole"), {service}, context) is trusted


def test_one_arn_may_stand_for_all_domains_of_an_account_and_region() -> None:
    """As the parameter says: what holds the ARNs of all domains has room for some dozens."""
    parameters = yaml_parse((ROOT / "accounts/source.yaml").read_text())["Parameters"]
    examples = {
        name: re.findall(r"arn:\S+", parameters[name]["Description"])
        for name in ("DomainArns", "DomainPathArns")
    }
    assert examples == {
        "DomainArns": ["arn:aws:es:eu-west-1:111111111111:domain/*"],
        "DomainPathArns": ["arn:aws:es:eu-west-1:111111111111:domain/*/*"],
    }
    trust = resolved(
        DOMAINS["SnapshotRole"]["Properties"]["AssumeRolePolicyDocument"], VALUES | examples
    )
    calling = resolved(
        DOMAINS["CallDomainsPolicy"]["Properties"]["PolicyDocument"], VALUES | examples
    )

    for domain, inside in (
        (DOMAIN, True),
        ("arn:aws:es:eu-west-1:111111111111:domain/orders", True),
        ("arn:aws:es:eu-central-1:111111111111:domain/logs", False),
        ("arn:aws:es:eu-west-1:333333333333:domain/logs", False),
    ):
        context = {"aws:SourceAccount": domain.split(":")[4], "aws:SourceArn": domain}
        decision = evaluate([calling], "es:ESHttpPut", f"{domain}/_snapshot/a", {})

        assert trusts(trust, {"es.amazonaws.com"}, context) is inside
        assert (decision is Decision.ALLOWED) is inside


@pytest.mark.parametrize(
    "path", sorted((ROOT / "events").glob("migrate-*.json")), ids=lambda path: path.stem
)
def test_the_inputs_in_events_go_with_the_templates(path: Path) -> None:
    jobs, _ = request.parse(json.loads(path.read_text()), "m-1")

    for job in jobs:
        assert job.bucket.access
        assert job.bucket.access.external_id
        assert job.base_path.startswith(f"{job.bucket.base_path}/")


def test_the_documented_master_role_trusts_whom_the_domains_role_trusts() -> None:
    text = (ROOT / "docs/permissions.md").read_text().partition("### The IAM master user")[2]
    trust, rights = map(json.loads, re.findall(r"```json\n(.*?)```", text, re.DOTALL)[:2])

    assert trust == trust_policy("DomainAccessRole")
    for request_to, decision in (
        (f"{DOMAIN}/_plugins/_security/api/roles/a", Decision.ALLOWED),
        (f"{DOMAIN}-2/_plugins/_security/api/roles/a", Decision.NOT_ALLOWED),
    ):
        assert evaluate([rights], "es:ESHttpPut", request_to, {}) is decision


TO_SERVICE = {"iam:PassedToService": "es.amazonaws.com"}


@pytest.mark.parametrize(
    ("name", "action", "resource", "context", "allowed"),
    [
        ("CallDomainsPolicy", "es:ESHttpPut", f"{DOMAIN}/_snapshot/a", {}, True),
        ("CallDomainsPolicy", "es:ESHttpPut", f"{DOMAIN}-2/_snapshot/a", {}, False),
        ("CallDomainsPolicy", "es:DeleteDomain", DOMAIN, {}, False),
        ("CallDomainsPolicy", "iam:PassRole", SNAPSHOT_ROLE, TO_SERVICE, True),
        # A domain's own API, unlike the service's, isn't documented to name the service.
        ("CallDomainsPolicy", "iam:PassRole", SNAPSHOT_ROLE, {}, True),
        (
            "CallDomainsPolicy",
            "iam:PassRole",
            SNAPSHOT_ROLE,
            {"iam:PassedToService": "ec2.amazonaws.com"},
            False,
        ),
        ("CallDomainsPolicy", "iam:PassRole", EXISTING_ROLE, TO_SERVICE, False),
        ("ReadSnapshotsPolicy", "s3:GetBucketLocation", BUCKET_ARN, {}, True),
        ("ReadSnapshotsPolicy", "s3:ListBucket", BUCKET_ARN, {"s3:prefix": "snapferry"}, True),
        ("ReadSnapshotsPolicy", "s3:ListBucket", BUCKET_ARN, {"s3:prefix": "snapferry/a"}, True),
        ("ReadSnapshotsPolicy", "s3:ListBucket", BUCKET_ARN, {"s3:prefix": "theirs/a"}, False),
        ("ReadSnapshotsPolicy", "s3:ListBucket", BUCKET_ARN, {}, False),
        ("ReadSnapshotsPolicy", "s3:GetObject", f"{BUCKET_ARN}/snapferry/a", {}, True),
        ("ReadSnapshotsPolicy", "s3:GetObject", f"{BUCKET_ARN}/theirs/a", {}, False),
        ("ReadSnapshotsPolicy", "s3:GetObject", f"{BUCKET_ARN}-2/snapferry/a", {}, False),
        ("ReadSnapshotsPolicy", "s3:PutObject", f"{BUCKET_ARN}/snapferry/a", {}, False),
        ("ReadSnapshotsPolicy", "kms:Decrypt", KEY, {}, True),
        ("ReadSnapshotsPolicy", "kms:Decrypt", f"{KEY}-2", {}, False),
        ("WriteSnapshotsPolicy", "s3:PutObject", f"{BUCKET_ARN}/snapferry/a", {}, True),
        ("WriteSnapshotsPolicy", "s3:PutObject", f"{BUCKET_ARN}/theirs/a", {}, False),
        ("WriteSnapshotsPolicy", "s3:DeleteObject", f"{BUCKET_ARN}/theirs/a", {}, False),
        ("WriteSnapshotsPolicy", "s3:PutObject", f"{BUCKET_ARN}-2/snapferry/a", {}, False),
        ("WriteSnapshotsPolicy", "kms:GenerateDataKey", KEY, {}, True),
        ("WriteSnapshotsPolicy", "kms:GenerateDataKey", f"{KEY}-2", {}, False),
        ("BucketAccessPolicy", "s3:PutBucketPolicy", BUCKET_ARN, {}, True),
        ("BucketAccessPolicy", "s3:PutBucketPolicy", f"{BUCKET_ARN}-2", {}, False),
    ],
)
def test_a_role_may_do_it_there_and_nowhere_else(
    name: str, action: str, resource: str, context: dict[str, str], allowed: bool
) -> None:
    document = policy(name, "CreatesSnapshotRole", "HasKmsKey")

    decision = evaluate([document], action, resource, context)

    assert decision is (Decision.ALLOWED if allowed else Decision.NOT_ALLOWED)


def test_an_existing_snapshot_role_is_passed_in_place_of_the_stacks_own() -> None:
    document = policy("CallDomainsPolicy")

    decisions = [
        evaluate([document], "iam:PassRole", role, TO_SERVICE)
        for role in (EXISTING_ROLE, SNAPSHOT_ROLE)
    ]

    assert decisions == [Decision.ALLOWED, Decision.NOT_ALLOWED]


@pytest.mark.parametrize(
    ("name", "action"),
    [("ReadSnapshotsPolicy", "kms:Decrypt"), ("WriteSnapshotsPolicy", "kms:GenerateDataKey")],
)
def test_without_a_key_no_key_may_be_used(name: str, action: str) -> None:
    assert evaluate([policy(name)], action, KEY, {}) is Decision.NOT_ALLOWED
