"""EventBridge Scheduler, whose schedules LocalStack keeps but never starts.

`fire` does what the service does when a schedule's time has come. It doesn't wait for that time,
and doesn't try again what fails.
"""

import boto3

from snapferry_sandbox.errors import SandboxError
from snapferry_sandbox.iam_policies import Decision, Roles, evaluate, trusts
from snapferry_sandbox.world import World

_SERVICE = "scheduler.amazonaws.com"


def fire(world: World, group: str, name: str) -> str:
    """Start what a schedule starts, as its role and with its input.

    Args:
        world: one that is deployed.
        group: of the schedule.
        name: of the schedule, whose target is a state machine.

    Returns:
        The execution's ARN.

    Raises:
        SandboxError: its role doesn't trust the service, or may not start the target.
    """
    account = boto3.Session(
        region_name=world.aws.region,
        aws_access_key_id=world.s3.accounts["destination"].access_key,
        aws_secret_access_key=world.s3.accounts["destination"].secret_key,
    )
    target = account.client("scheduler", endpoint_url=world.aws.endpoint).get_schedule(
        GroupName=group, Name=name
    )["Target"]
    number = world.aws.accounts["destination"]
    role = Roles(world.aws.endpoint, number, world.aws.region).get(
        target["RoleArn"].rpartition("/")[2]
    )
    caller = {
        "aws:SourceAccount": number,
        "aws:SourceArn": f"arn:aws:scheduler:{world.aws.region}:{number}:schedule-group/{group}",
    }
    if role is None or not trusts(role.trust_policy, {_SERVICE}, caller):
        raise SandboxError(f"{target['RoleArn']} doesn't trust {_SERVICE}")
    action = "states:StartExecution"
    if evaluate(role.identity_policies, action, target["Arn"], {}) is not Decision.ALLOWED:
        raise SandboxError(f"{role.arn} may not {action} on {target['Arn']}")
    assumed = account.client("sts", endpoint_url=world.aws.endpoint).assume_role(
        RoleArn=role.arn, RoleSessionName=name
    )["Credentials"]
    executions = boto3.client(
        "stepfunctions",
        endpoint_url=world.aws.endpoint,
        region_name=world.aws.region,
        aws_access_key_id=assumed["AccessKeyId"],
        aws_secret_access_key=assumed["SecretAccessKey"],
        aws_session_token=assumed["SessionToken"],
    )
    started = executions.start_execution(stateMachineArn=target["Arn"], input=target["Input"])
    return started["executionArn"]
