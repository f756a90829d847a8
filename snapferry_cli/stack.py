"""Finds a deployed stack, and makes the clients that commands need."""

import json
import os
import shlex
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from snapferry.errors import NotFound
from snapferry_cli.migration import Migration

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_stepfunctions import SFNClient

DEFAULT_NAME = "snapferry"
# Throttled calls and those that failed on their way are repeated.
_CONFIG = Config(retries={"mode": "standard", "max_attempts": 5})


class Stack:
    """A stack made from template.yaml.

    Args:
        name: of the stack.
        region: None for that of the environment or the profile.
        profile: of the AWS configuration; None for what the environment says.
    """

    def __init__(self, name: str, region: str | None, profile: str | None) -> None:
        self.name = name
        self._session = boto3.Session(
            # As the other tools of AWS do; boto3 reads AWS_DEFAULT_REGION alone.
            region_name=region or os.environ.get("AWS_REGION"),
            profile_name=profile,
        )
        options = {"--stack": name, "--region": region, "--profile": profile}
        self._options = [
            word
            for option, value in options.items()
            if value is not None and (option, value) != ("--stack", DEFAULT_NAME)
            for word in (option, value)
        ]

    def output(self, key: str) -> str:
        """An output of the stack.

        Raises:
            NotFound: there is no such stack, or it has no such output.
        """
        if key not in self._outputs:
            raise NotFound(
                f"the stack {self.name!r} has no output {key}: it isn't Snapferry's, or of an "
                "older version. What to do: check --stack, or deploy it anew."
            )
        return self._outputs[key]

    @cached_property
    def _outputs(self) -> dict[str, str]:
        cloudformation = self._session.client("cloudformation", config=_CONFIG)
        try:
            [stack] = cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            # CloudFormation has no error of its own for this.
            if "does not exist" in str(error):
                raise NotFound(
                    f"there is no stack {self.name!r} in {cloudformation.meta.region_name}. What "
                    "to do: check --stack (or SNAPFERRY_STACK), --region and --profile."
                ) from None
            raise
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    @cached_property
    def step_functions(self) -> "SFNClient":
        """A client of Step Functions."""
        return self._session.client("stepfunctions", config=_CONFIG)

    @cached_property
    def table(self) -> "Table":
        """The table of progress, gates and changes."""
        dynamodb = self._session.resource("dynamodb", config=_CONFIG)
        return dynamodb.Table(self.output("TableName"))

    def record(self, key: str) -> Any:
        """A record of a migration, such as its plan.

        Raises:
            NotFound: there is none.
        """
        s3 = self._session.client("s3", config=_CONFIG)
        try:
            answer = s3.get_object(Bucket=self.output("RecordsBucketName"), Key=key)
        except ClientError as error:
            # Who may not list the bucket isn't told that an object isn't there.
            if error.response["Error"]["Code"] not in ("NoSuchKey", "AccessDenied"):
                raise
            raise NotFound(
                f"there is no record {key}, or you may not read it. What to do: check the "
                "migration's id, and that OperatorPolicyArn of the stack is attached to you."
            ) from None
        return json.loads(answer["Body"].read())

    def migration(self, migration_id: str, *, just_started: bool = False) -> Migration:
        """A migration by its id, whether there is one or not, or one that was just started."""
        machine = self.output("MigrateStateMachineArn")
        execution = machine.replace(":stateMachine:", ":execution:", 1)
        return Migration(
            migration_id,
            f"{execution}:{migration_id}",
            self.step_functions,
            self.table,
            just_started,
        )

    def caller_arn(self) -> str:
        """Who uses this tool, as AWS sees it."""
        return self._session.client("sts", config=_CONFIG).get_caller_identity()["Arn"]

    def command(self, *words: str) -> str:
        """A command line that does something with the same stack."""
        return shlex.join(["snapferry", *words, *self._options])
