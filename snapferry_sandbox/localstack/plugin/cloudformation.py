"""CloudFormation as the sandbox needs it: substitutions of any type, and no long waits."""

import functools
from collections.abc import Mapping

from localstack.services.cloudformation.resource_provider import ResourceProviderExecutor
from localstack.services.stepfunctions.resource_providers import aws_stepfunctions_statemachine

_LOOK_EVERY_SECONDS = 0.1


def patch() -> None:
    """Change LocalStack's CloudFormation."""
    _take_substitutions_of_any_type()
    _look_often_whether_a_resource_is_there()


def _take_substitutions_of_any_type() -> None:
    """Numbers and booleans as `DefinitionSubstitutions`, which LocalStack takes for strings."""
    substitute = aws_stepfunctions_statemachine._apply_substitutions

    def substitute_strings(definition: str, substitutions: Mapping[str, object]) -> str:
        strings = {name: _text(value) for name, value in substitutions.items()}
        result: str = substitute(definition, strings)
        return result

    aws_stepfunctions_statemachine._apply_substitutions = substitute_strings


def _look_often_whether_a_resource_is_there() -> None:
    """Each function would take a second."""
    ResourceProviderExecutor.deploy_loop = functools.partialmethod(
        ResourceProviderExecutor.deploy_loop, sleep_time=_LOOK_EVERY_SECONDS
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
