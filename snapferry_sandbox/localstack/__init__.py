"""AWS: LocalStack in an environment of its own, with a plugin in place of Docker and Java."""

from snapferry_sandbox.localstack.service import LocalStack, start

__all__ = ["LocalStack", "start"]
