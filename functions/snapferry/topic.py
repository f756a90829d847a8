"""What people are told, and the commands that they are told to run."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

_LONGEST_SUBJECT = 100


@dataclass(frozen=True)
class Topic:
    """The topic of the stack.

    Attributes:
        client: of SNS.
        arn: of the topic.
        stack: whose topic it is; commands name it.
    """

    client: "SNSClient"
    arn: str
    stack: str

    def tell(self, subject: str, message: str) -> None:
        """Tells people something.

        Source: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html

        Args:
            subject: cut where it is longer than SNS takes.
            message: what has happened, and what to do.
        """
        self.client.publish(TopicArn=self.arn, Subject=subject[:_LONGEST_SUBJECT], Message=message)

    def command(self, *words: str) -> str:
        """A command line that does something with this stack, whatever region its reader is in."""
        region = self.arn.split(":")[3]
        return shlex.join(["snapferry", *words, "--stack", self.stack, "--region", region])

    def execution_page(self, migration_id: str) -> str:
        """The address of a migration's execution in the console."""
        _, partition, _, region, account, _ = self.arn.split(":")
        execution = f"{self.stack}-migrate:{migration_id}"
        return (
            f"https://{region}.console.aws.amazon.com/states/home?region={region}"
            f"#/v2/executions/details/arn:{partition}:states:{region}:{account}:"
            f"execution:{execution}"
        )
