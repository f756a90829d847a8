"""What Amazon OpenSearch Service refuses before the engine sees it, in its own words.

The supported operations and settings are those of
https://docs.aws.amazon.com/opensearch-service/latest/developerguide/supported-operations.html;
status codes and texts are those which its users report.
"""

import json
from collections.abc import Sequence
from typing import Any

MAXIMUM_BODY_BYTES = 10 * 1024 * 1024
"""Of the smaller instance types."""

_CHANGING_METHODS = frozenset({"PUT", "POST", "DELETE"})
_CLUSTER_OPERATIONS = frozenset(
    {"allocation", "health", "pending_tasks", "settings", "state", "stats"}
)
_UNSUPPORTED_OPERATIONS = frozenset({"_ilm", "_settings", "_xpack"})
_CLUSTER_SETTINGS = frozenset(
    {
        "action.auto_create_index",
        "action.search.shard_count.limit",
        "cluster.blocks.read_only",  # documented under "Cluster in read-only state"
        "cluster.max_shards_per_node",
        "cluster.search.request.slowlog.level",
        "cluster.search.request.slowlog.threshold.debug",
        "cluster.search.request.slowlog.threshold.info",
        "cluster.search.request.slowlog.threshold.trace",
        "cluster.search.request.slowlog.threshold.warn",
        "indices.breaker.fielddata.limit",
        "indices.breaker.request.limit",
        "indices.breaker.total.limit",
        "search.phase_took_enabled",
    }
)
# The documented list leaves out the plugins' settings.
_PLUGIN_SETTINGS = ("knn.", "opendistro.", "plugins.")


class RefusedError(Exception):
    """A request that the service answers itself."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        """Make the answer.

        Args:
            status: HTTP status.
            body: the answer's JSON.
        """
        super().__init__(body)
        self.status = status
        self.body = body


def not_allowed(path: str) -> RefusedError:
    """Return the answer to an operation that the service doesn't support."""
    return RefusedError(401, {"Message": f"Your request: '{path}' is not allowed."})


def payload_not_allowed(path: str) -> RefusedError:
    """Return the answer to a supported operation with a body that the service doesn't take."""
    return RefusedError(401, {"Message": f"Your request: '{path}' payload is not allowed."})


def too_large() -> RefusedError:
    """Return the answer to a body that is larger than the service takes."""
    return RefusedError(413, {"Message": f"Request size exceeded {MAXIMUM_BODY_BYTES} bytes"})


def check_operation(method: str, path: Sequence[str], body: bytes) -> None:
    """Raise the service's answer if it doesn't support an operation.

    Args:
        method: of the request.
        path: its segments, decoded.
        body: of the request.

    Raises:
        RefusedError: it doesn't.
    """
    match path:
        case ["_cluster", "settings"] if method == "PUT":
            _check_settings(path, body)
        case ["_cluster", operation, *_] if operation not in _CLUSTER_OPERATIONS:
            raise not_allowed(joined(path))
        case ["_cat", "nodeattrs", *_]:
            raise not_allowed(joined(path))
        case [operation, *_] if operation in _UNSUPPORTED_OPERATIONS:
            raise not_allowed(joined(path))
        case ["_snapshot", repository, *_] if repository.startswith("cs-"):
            # The service's own repositories: to be looked at and restored from.
            if method in _CHANGING_METHODS and path[-1] != "_restore":
                raise not_allowed(joined(path))


def joined(path: Sequence[str]) -> str:
    """Return a path's segments as one text."""
    return "/" + "/".join(path)


def parsed(path: Sequence[str], body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body has to be.

    Raises:
        RefusedError: it isn't one.
    """
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise payload_not_allowed(joined(path))
    return content


def _check_settings(path: Sequence[str], body: bytes) -> None:
    for settings in parsed(path, body).values():
        if not isinstance(settings, dict) or not all(
            _may_set(name, value) for name, value in settings.items()
        ):
            raise payload_not_allowed(joined(path))


def _may_set(name: str, value: Any) -> bool:
    known = name in _CLUSTER_SETTINGS or name.startswith(_PLUGIN_SETTINGS)
    return known and not isinstance(value, dict)
