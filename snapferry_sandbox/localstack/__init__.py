"""AWS: LocalStack in an environment of its own, with a plugin in place of Docker and Java."""

from snapferry_sandbox.localstack.service import CALLS, LocalStack, start

__all__ = ["CALLS", "LocalStack", "start"]
