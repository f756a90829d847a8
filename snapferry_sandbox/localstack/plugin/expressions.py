"""JSONata by jsonata-python; LocalStack's own way to evaluate it would download Java.

Variables are bound instead of being written into the expression, which is faster and keeps any
string intact. Undefined results and errors fail the state with `States.QueryEvaluationError`.
"""

import hashlib
import json
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from jsonata.jsonata import Jsonata
from jsonata.utils import Utils
from localstack.aws.api.stepfunctions import EvaluationFailedEventDetails, HistoryEventType
from localstack.services.stepfunctions.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from localstack.services.stepfunctions.asl.component.common.error_name.states_error_name import (
    StatesErrorName,
)
from localstack.services.stepfunctions.asl.component.common.error_name.states_error_name_type import (  # noqa: E501
    StatesErrorNameType,
)
from localstack.services.stepfunctions.asl.component.common.string.string_expression import (
    StringJSONata,
    StringVariableSample,
)
from localstack.services.stepfunctions.asl.eval.environment import Environment
from localstack.services.stepfunctions.asl.eval.event.event_detail import EventDetails
from localstack.services.stepfunctions.asl.jsonata.jsonata import (
    extract_jsonata_variable_references,
)


class QueryEvaluationError(Exception):
    """An expression that can't be evaluated, or is undefined."""


def patch() -> None:
    """Make LocalStack's interpreter evaluate expressions so."""
    StringJSONata._eval_body = _evaluate_in_state
    StringVariableSample._eval_body = _evaluate_in_state


def evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    """Return the value of a JSONata expression, as JSON.

    Args:
        expression: without `{% %}`.
        variables: by their names without `$`.

    Raises:
        QueryEvaluationError: the text says why.
    """
    try:
        jsonata = Jsonata(expression)
        for name, function in _FUNCTIONS.items():
            jsonata.register_lambda(name, function)
        # Else null and undefined would look the same.
        jsonata.set_output_convert_nulls(False)
        bindings = {
            name: Utils.NULL_VALUE if value is None else value for name, value in variables.items()
        }
        result = jsonata.evaluate(None, bindings)
    # The library raises whatever an expression makes Python raise.
    except Exception as error:
        raise QueryEvaluationError(
            f"The JSONata expression '{expression}' failed: {error}"
        ) from error
    if result is None:
        raise QueryEvaluationError(
            f"The JSONata expression '{expression}' returned nothing (undefined)."
        )
    return _json(result, expression)


def _evaluate_in_state(self: StringJSONata | StringVariableSample, env: Environment) -> None:
    # Refuses `$` and `$$`, which don't exist in Step Functions.
    extract_jsonata_variable_references(self.expression)
    store = env.variable_store
    variables = {
        **store._outer_scope,
        **store._inner_scope,
        "states": env.states._states_data,
    }
    try:
        env.stack.append(evaluate(self.expression, variables))
    except QueryEvaluationError as error:
        raise _failure(env, str(error)) from error


def _failure(env: Environment, cause: str) -> FailureEventException:
    name = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
    details = EventDetails(
        evaluationFailedEventDetails=EvaluationFailedEventDetails(
            error=name.error_name, cause=cause
        )
    )
    env.event_manager.add_event(
        context=env.event_history_context,
        event_type=HistoryEventType.EvaluationFailed,
        event_details=details,
    )
    return FailureEventException(
        FailureEvent(
            env=env,
            error_name=name,
            event_type=HistoryEventType.EvaluationFailed,
            event_details=details,
        )
    )


def _json(value: Any, expression: str) -> Any:
    """Return a copy made of JSON's types alone; whole numbers become integers, as JSONata's do."""
    if value is Utils.NULL_VALUE or value is None:
        return None
    if isinstance(value, dict):
        return {key: _json(item, expression) for key, item in value.items()}
    if isinstance(value, list):
        return [_json(item, expression) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str | int | float):
        return value
    raise QueryEvaluationError(
        f"The JSONata expression '{expression}' returned an unsupported result type."
    )


# The functions that Step Functions adds to JSONata's own:
# https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html


def _partition(array: list[Any], size: float) -> list[list[Any]]:
    return [array[start : start + int(size)] for start in range(0, len(array), int(size))]


def _range(first: float, last: float, step: float) -> list[float]:
    count = int((last - first) // step) + 1
    return [first + step * number for number in range(max(count, 0))]


def _hash(value: Any, algorithm: str) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return hashlib.new(algorithm.replace("-", ""), text.encode()).hexdigest()


def _random(seed: float | None = None) -> float:
    return random.Random(seed).random()  # noqa: S311


def _uuid() -> str:
    return str(uuid.uuid4())


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "partition": _partition,
    "range": _range,
    "hash": _hash,
    "random": _random,
    "uuid": _uuid,
    "parse": json.loads,
}
