"""CloudFormation as the sandbox needs it.

Substitutions may be of any type, resources may come by a condition, and nothing waits long.
"""

import functools
from collections.abc import Mapping

from localstack.services.cloudformation.engine.v2.change_set_model import Nothing
from localstack.services.cloudformation.engine.v2.change_set_model_preproc import (
    ChangeSetModelPreproc,
)
from localstack.services.cloudformation.engine.validations import ValidationError
from localstack.services.cloudformation.resource_provider import ResourceProviderExecutor
from localstack.services.stepfunctions.resource_providers import aws_stepfunctions_statemachine

_LOOK_EVERY_SECONDS = 0.1


def patch() -> None:
    """Change LocalStack's CloudFormation."""
    _take_substitutions_of_any_type()
    _let_resources_come_by_a_condition()
    _look_often_whether_a_resource_is_there()


def _take_substitutions_of_any_type() -> None:
    """Numbers and booleans as `DefinitionSubstitutions`, which LocalStack takes for strings."""
    substitute = aws_stepfunctions_statemachine._apply_substitutions

    def substitute_strings(definition: str, substitutions: Mapping[str, object]) -> str:
        strings = {name: _text(value) for name, value in substitutions.items()}
        result: str = substitute(definition, strings)
        return result

    aws_stepfunctions_statemachine._apply_substitutions = substitute_strings


def _let_resources_come_by_a_condition() -> None:
    """LocalStack looks for attributes in both states of a stack; before, they had none."""
    resolve = ChangeSetModelPreproc._resolve_attribute

    def resolve_if_there(self: ChangeSetModelPreproc, *arguments: object, **more: object) -> object:
        try:
            return resolve(self, *arguments, **more)
        except ValidationError:
            return Nothing

    ChangeSetModelPreproc._resolve_attribute = resolve_if_there


def _look_often_whether_a_resource_is_there() -> None:
    """Each function would take a second."""
    ResourceProviderExecutor.deploy_loop = functools.partialmethod(
        ResourceProviderExecutor.deploy_loop, sleep_time=_LOOK_EVERY_SECONDS
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
