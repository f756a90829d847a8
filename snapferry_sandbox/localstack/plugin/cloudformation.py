"""Numbers and booleans as `DefinitionSubstitutions`, which LocalStack takes for strings."""

from collections.abc import Mapping

from localstack.services.stepfunctions.resource_providers import aws_stepfunctions_statemachine


def patch() -> None:
    """Make strings of them."""
    substitute = aws_stepfunctions_statemachine._apply_substitutions

    def substitute_strings(definition: str, substitutions: Mapping[str, object]) -> str:
        strings = {name: _text(value) for name, value in substitutions.items()}
        result: str = substitute(definition, strings)
        return result

    aws_stepfunctions_statemachine._apply_substitutions = substitute_strings


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
