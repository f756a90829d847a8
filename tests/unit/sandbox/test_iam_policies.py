from typing import Any

import pytest

from snapferry_sandbox.iam_policies import Decision, Policy, evaluate, trusts

DOMAIN = "arn:aws:es:eu-west-1:111111111111:domain/logs"
CONTEXT = {
    "iam:PassedToService": "es.amazonaws.com",
    "aws:SourceArn": DOMAIN,
    "aws:SecureTransport": "true",
}


def policy(effect: str = "Allow", **elements: Any) -> Policy:
    statement = {"Effect": effect, "Action": "es:ESHttpGet", "Resource": "*", **elements}
    return {"Version": "2012-10-17", "Statement": [statement]}


def decide(*policies: Policy, action: str = "es:ESHttpGet", path: str = "/_search") -> Decision:
    return evaluate(policies, action, DOMAIN + path, CONTEXT)


def test_nothing_is_allowed_by_itself() -> None:
    assert decide() is Decision.NOT_ALLOWED


def test_one_deny_outweighs_all_allows() -> None:
    assert decide(policy(), policy("Deny"), policy()) is Decision.DENIED


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        ("es:ESHttpGet", True),
        ("ES:eshttpget", True),
        ("es:ESHttp*", True),
        ("es:ESHttp???", True),
        ("*", True),
        (["es:ESHttpPut", "es:ESHttpGet"], True),
        ("es:ESHttpPut", False),
        ("es:ESHttp", False),
        ("es:ESHttp[G]et", False),
    ],
)
def test_actions(pattern: str | list[str], allowed: bool) -> None:
    assert (decide(policy(Action=pattern)) is Decision.ALLOWED) == allowed


def test_excluded_actions() -> None:
    statement = {"Effect": "Allow", "NotAction": "es:ESHttpDelete", "Resource": "*"}

    assert decide({"Statement": statement}) is Decision.ALLOWED
    assert decide({"Statement": statement}, action="es:ESHttpDelete") is Decision.NOT_ALLOWED


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (f"{DOMAIN}/*", True),
        ("arn:aws:es:*:111111111111:domain/*", True),
        (DOMAIN, False),
        (f"{DOMAIN.upper()}/*", False),
        (f"{DOMAIN}/_search/more", False),
    ],
)
def test_resources(pattern: str, allowed: bool) -> None:
    assert (decide(policy(Resource=pattern)) is Decision.ALLOWED) == allowed


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"StringEquals": {"iam:PassedToService": "es.amazonaws.com"}}, True),
        ({"StringEquals": {"IAM:passedtoservice": ["a", "es.amazonaws.com"]}}, True),
        ({"StringEquals": {"iam:PassedToService": "es.*"}}, False),
        ({"StringLike": {"iam:PassedToService": "es.*"}}, True),
        ({"StringNotEquals": {"iam:PassedToService": "es.amazonaws.com"}}, False),
        ({"StringNotLike": {"iam:PassedToService": ["ec2.*", "lambda.*"]}}, True),
        ({"StringEquals": {"aws:SourceAccount": "111111111111"}}, False),
        ({"StringEqualsIfExists": {"aws:SourceAccount": "111111111111"}}, True),
        ({"StringNotEquals": {"aws:SourceAccount": "111111111111"}}, True),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:es:*:111111111111:domain/*"}}, True),
        ({"ArnEquals": {"aws:SourceArn": DOMAIN}}, True),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:*/logs"}}, False),
        ({"ArnNotLike": {"aws:SourceArn": "arn:aws:es:*:222222222222:domain/*"}}, True),
        ({"Bool": {"aws:SecureTransport": True}}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, False),
        (
            {
                "Bool": {"aws:SecureTransport": "true"},
                "StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"},
            },
            False,
        ),
    ],
)
def test_conditions(condition: dict[str, Any], holds: bool) -> None:
    assert (decide(policy(Condition=condition)) is Decision.ALLOWED) == holds
    assert (decide(policy("Deny", Condition=condition)) is Decision.DENIED) == holds


def test_unknown_condition_never_helps() -> None:
    condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}

    assert decide(policy(Condition=condition)) is Decision.NOT_ALLOWED
    assert decide(policy("Deny", Condition=condition)) is Decision.DENIED


@pytest.mark.parametrize(
    ("statement", "trusted"),
    [
        ({"Principal": {"Service": "es.amazonaws.com"}}, True),
        ({"Principal": {"Service": ["lambda.amazonaws.com", "es.amazonaws.com"]}}, True),
        ({"Principal": "*"}, True),
        ({"Principal": {"Service": "lambda.amazonaws.com"}}, False),
        ({"Principal": {"AWS": "arn:aws:iam::111111111111:root"}}, False),
        ({"Principal": {"Service": "es.amazonaws.com"}, "Action": "sts:TagSession"}, False),
        ({"Principal": {"Service": "es.amazonaws.com"}, "Effect": "Deny"}, False),
        (
            {
                "Principal": {"Service": "es.amazonaws.com"},
                "Condition": {"ArnLike": {"aws:SourceArn": f"{DOMAIN}-2"}},
            },
            False,
        ),
    ],
)
def test_trust(statement: dict[str, Any], trusted: bool) -> None:
    trust_policy = {"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", **statement}}

    assert trusts(trust_policy, {"es.amazonaws.com"}, CONTEXT) == trusted


ROLE = "arn:aws:iam::222222222222:role/snapferry-MoveAliasesFunctionRole-1"
ACCOUNT = "arn:aws:iam::222222222222:root"
OF_THE_STACK = {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::222222222222:role/snapferry-*"}}
BY_ID = {"StringEquals": {"sts:ExternalId": "x"}}


@pytest.mark.parametrize(
    ("statement", "context", "trusted"),
    [
        ({"Principal": {"AWS": ACCOUNT}}, {}, True),
        ({"Principal": {"AWS": ROLE}}, {}, True),
        ({"Principal": {"AWS": "*"}}, {}, True),
        ({"Principal": {"AWS": "arn:aws:iam::111111111111:root"}}, {}, False),
        ({"Principal": {"AWS": ACCOUNT}, "Condition": BY_ID}, {"sts:ExternalId": "x"}, True),
        ({"Principal": {"AWS": ACCOUNT}, "Condition": BY_ID}, {"sts:ExternalId": "y"}, False),
        ({"Principal": {"AWS": ACCOUNT}, "Condition": BY_ID}, {}, False),
        ({"Principal": {"AWS": ACCOUNT}, "Condition": OF_THE_STACK}, {}, True),
        (
            {"Principal": {"AWS": ACCOUNT}, "Condition": OF_THE_STACK},
            {"aws:PrincipalArn": "arn:aws:iam::222222222222:role/other"},
            False,
        ),
    ],
)
def test_trust_in_an_account(
    statement: dict[str, Any], context: dict[str, str], trusted: bool
) -> None:
    trust_policy = {"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", **statement}}
    keys = {"aws:PrincipalArn": ROLE} | context

    assert trusts(trust_policy, {ROLE, ACCOUNT}, keys) == trusted
