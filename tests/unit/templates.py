"""Parts of a CloudFormation template, as they are in a stack."""

import re
from collections.abc import Collection, Mapping
from typing import Any


def resolved(value: Any, values: Mapping[str, Any], conditions: Collection[str] = ()) -> Any:
    """A part of a template with a stack's values in it.

    Args:
        value: the part, as JSON.
        values: of parameters and resources by name, of attributes by `Name.Attribute`.
        conditions: those that hold.
    """
    match value:
        case {"Ref": "AWS::NoValue"}:
            return None
        case {"Ref": name}:
            return values[name]
        case {"Fn::GetAtt": [name, attribute]}:
            return values[f"{name}.{attribute}"]
        case {"Fn::Sub": text}:
            return re.sub(r"\$\{([^}]+)\}", lambda match: values[match[1]], text)
        case {"Fn::If": [condition, then, otherwise]}:
            return resolved(then if condition in conditions else otherwise, values, conditions)
        case dict():
            return {key: resolved(item, values, conditions) for key, item in value.items()}
        case list():
            items = (resolved(item, values, conditions) for item in value)
            return [item for item in items if item is not None]
    return value
