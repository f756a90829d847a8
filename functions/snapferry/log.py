"""The functions' log, whose lines say whose they are: many domains are moved side by side."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities import jmespath_utils
from aws_lambda_powertools.utilities.typing import LambdaContext

type _Handler[Answer] = Callable[[dict[str, Any], LambdaContext], Answer]

# Lambda takes the level of a line only if it has a time in this form.
logger = Logger(use_rfc3339=True)
# What modules of this package log by their own names comes with the same keys, and once.
_of_package = logging.getLogger(__package__)
_of_package.addHandler(logger.registered_handler)
_of_package.propagate = False

# Always all of them: what an event doesn't say would stay that of the one before.
_WHOSE = """{
  migration_id: migration_id || job.migration_id || jobs[0].migration_id,
  domain: job.domain.name,
  execution_arn: execution_arn
}"""


def logged[Answer](handler: _Handler[Answer]) -> _Handler[Answer]:
    """Has the lines of a handler say whose they are, and logs the error that ends it.

    Lambda logs that error, too, but nothing besides it.
    """

    @logger.inject_lambda_context
    @functools.wraps(handler)
    def handle(event: dict[str, Any], context: LambdaContext) -> Answer:
        logger.append_keys(**jmespath_utils.query(event, _WHOSE))
        try:
            return handler(event, context)
        except Exception as error:
            logger.exception(str(error))
            raise

    return handle
