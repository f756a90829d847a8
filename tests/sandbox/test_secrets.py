"""Whatever a migration leaves for people to read holds no secret."""

import json
from base64 import b64encode
from collections.abc import Iterator
from urllib.request import urlopen

from tests.sandbox.listening import Told
from tests.sandbox.migrations import Sandbox


def secrets_of(sandbox: Sandbox) -> Iterator[tuple[str, str]]:
    """What it is, and the secret: of users, of accounts and of all sessions of roles."""
    manager = sandbox.client("secretsmanager")
    for secret in manager.list_secrets()["SecretList"]:
        value = json.loads(manager.get_secret_value(SecretId=secret["ARN"])["SecretString"])
        yield f"password of {secret['Name']}", value["password"]
        # As they stand in a header.
        credentials = f"{value['username']}:{value['password']}"
        yield f"credentials of {secret['Name']}", b64encode(credentials.encode()).decode()
    for name, account in sandbox.world.s3.accounts.items():
        yield f"secret key of the {name} account", account.secret_key
    sessions = f"{sandbox.world.aws.endpoint}/_snapferry/identities"
    with urlopen(sessions) as answer:  # noqa: S310 - of the sandbox
        for identity in json.load(answer):
            yield f"secret key of {identity['arn']}", identity["secret_access_key"]
            yield f"session token of {identity['arn']}", identity["session_token"]


def texts_of(sandbox: Sandbox, told: Told) -> Iterator[tuple[str, str]]:
    """Where it stands, and the text; of all migrations so far, but histories of these alone."""
    for state_machine, arn in sandbox.world.deployment["state_machines"].items():
        for execution in sandbox.executions.list_executions(stateMachineArn=arn)["executions"]:
            if not told.began_at <= execution["startDate"] <= told.ended_at:
                continue
            pages = sandbox.executions.get_paginator("get_execution_history").paginate(
                executionArn=execution["executionArn"]
            )
            for page in pages:
                yield f"history of {state_machine}", json.dumps(page["events"], default=str)
    for file in sandbox.world.logs.glob("lambda/*/*.log"):
        yield f"log of {file.parent.name}", file.read_text(errors="replace")
    logs = sandbox.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        events = logs.filter_log_events(logGroupName=group["logGroupName"])["events"]
        yield f"log group {group['logGroupName']}", json.dumps(events)
    yield "table", json.dumps(sandbox.table.scan()["Items"], default=str)
    s3, bucket = sandbox.client("s3"), sandbox.world.deployment["records_bucket"]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page["Contents"]:
            content = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode()
            yield f"record {item['Key']}", content
    for who, text in told.heard:
        yield f"message of {who}", text


def test_no_secret_is_anywhere(sandbox: Sandbox, told: Told) -> None:
    secrets, texts = list(secrets_of(sandbox)), list(texts_of(sandbox, told))

    for place in (
        *(f"history of {name}" for name in sandbox.world.deployment["state_machines"]),
        "log of snapferry-GrantRights",
        "log group /aws/vendedlogs/states/snapferry",
        "table",
        "record migrations/",
        "message of topic",
        "message of aws.states",
        "message of snapferry",
    ):
        assert any(where.startswith(place) and len(text) > 2 for where, text in texts), place
    for kind in (
        "password of",
        "credentials of",
        "secret key of the source",
        "session token of arn:aws:sts::111",
    ):
        assert any(what.startswith(kind) for what, _ in secrets), kind
    found = [
        f"{what} in {where}" for what, secret in secrets for where, text in texts if secret in text
    ]
    assert found == []
