"""Repositories of the type `s3`, on a node that knows files only."""

import json
from pathlib import Path
from typing import Any


class Repositories:
    """What was registered, and as what the node got it.

    Args:
        objects_folder: has a folder for each bucket, in which an object is a file.
    """

    def __init__(self, objects_folder: Path) -> None:
        self._objects_folder = objects_folder
        self._registered: dict[str, dict[str, Any]] = {}

    def register(self, name: str, body: bytes) -> bytes:
        """Return a definition as the node takes it; of another type than `s3` as it is."""
        definition = json.loads(body)
        if definition["type"] != "s3":
            return body
        settings = {key: _text(value) for key, value in definition["settings"].items()}
        self._registered[name] = {"type": "s3", "settings": settings}
        # What limits a node and how it lays out the files is the same for all types.
        others = {
            key: value for key, value in settings.items() if key not in ("bucket", "base_path")
        }
        location = self._objects_folder / settings["bucket"] / settings.get("base_path", "")
        return json.dumps(
            {"type": "fs", "settings": {**others, "location": str(location)}}
        ).encode()

    def as_registered(self, shown: dict[str, Any]) -> dict[str, Any]:
        """Return the node's repositories, by name, as they were registered."""
        return {name: self._registered.get(name, definition) for name, definition in shown.items()}


def _text(value: Any) -> str:
    """A setting as the node shows it."""
    return value if isinstance(value, str) else json.dumps(value)
