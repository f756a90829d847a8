"""Answers of a cluster in which documents stay the text that they are.

A number that has gone through a float comes out as another one, and of two members of one name
only the last is left. So a document that is copied is never parsed: it is sent as it came.
"""

import json
import re
from json import JSONDecodeError
from typing import Any

_BLANKS = re.compile(r"[ \t\n\r]*")
_parse = json.JSONDecoder().raw_decode


def loads(text: str) -> Any:
    """Parses JSON, except for documents: `_source` beside an `_id` is given back as its text.

    Raises:
        ValueError: where it isn't JSON.
    """
    if '"_source"' not in text:
        return json.loads(text)
    value, end = _value(text, _skip(text, 0))
    if _skip(text, end) != len(text):
        raise JSONDecodeError("Extra data", text, end)
    return value


def _value(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at `start`, and where it ends."""
    match text[start : start + 1]:
        case "{":
            return _object(text, start + 1)
        case "[":
            return _array(text, start + 1)
        case _:
            return _parse(text, start)


def _object(text: str, start: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    document = None
    position = _skip(text, start)
    if text[position : position + 1] == "}":
        return members, position + 1
    while True:
        _expect(text, position, '"')
        name, position = _parse(text, position)
        position = _skip(text, position)
        _expect(text, position, ":")
        position = _skip(text, position + 1)
        if name == "_source":
            members[name], end = _parse(text, position)
            document = text[position:end]
        else:
            members[name], end = _value(text, position)
        position = _skip(text, end)
        if text[position : position + 1] == "}":
            break
        _expect(text, position, ",")
        position = _skip(text, position + 1)
    # A mapping has a member `_source` too, but no identity.
    if document is not None and "_id" in members:
        members["_source"] = document
    return members, position + 1


def _array(text: str, start: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    position = _skip(text, start)
    if text[position : position + 1] == "]":
        return items, position + 1
    while True:
        item, end = _value(text, position)
        items.append(item)
        position = _skip(text, end)
        if text[position : position + 1] == "]":
            return items, position + 1
        _expect(text, position, ",")
        position = _skip(text, position + 1)


def _skip(text: str, position: int) -> int:
    """Where the blanks at `position` end."""
    blanks = _BLANKS.match(text, position)
    assert blanks  # noqa: S101 - it matches nothing at all, too
    return blanks.end()


def _expect(text: str, position: int, character: str) -> None:
    if text[position : position + 1] != character:
        raise JSONDecodeError(f"Expecting {character!r}", text, position)
