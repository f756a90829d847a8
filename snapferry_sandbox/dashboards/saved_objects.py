"""Saved objects as OpenSearch Dashboards keeps them, by the documented REST API.

Sources: https://docs.opensearch.org/latest/dashboards/management/saved-objects-api/ and, for the
texts, what is exported and how an import fails, Dashboards itself.
"""

import copy
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from email.message import Message
from email.parser import BytesParser
from typing import Any
from urllib.parse import unquote

type Answer = tuple[int, Any]
"""Status and body."""
type Key = tuple[str, str]
"""Type and id."""

API = "/api/saved_objects/"
_TYPES = frozenset(
    {"config", "dashboard", "index-pattern", "query", "search", "url", "visualization"}
)
# The others may be missing.
_CHECKED_REFERENCES = ("index-pattern", "search")
_NEWEST_VERSION = "7.10.0"


class SavedObjects:
    """Those of one Dashboards, by tenant.

    Args:
        migrate: takes the attributes of an object of an older version to those of this one.
    """

    def __init__(
        self, migrate: Callable[[dict[str, Any]], dict[str, Any]] = lambda attributes: attributes
    ) -> None:
        self._migrate = migrate
        self._kept: dict[str, dict[Key, dict[str, Any]]] = {}
        self._writes = itertools.count(1)

    def of(self, tenant: str) -> dict[Key, dict[str, Any]]:
        """A tenant's, by type and id."""
        return self._kept.setdefault(tenant, {})

    def answer(
        self,
        tenant: str,
        method: str,
        resource: str,
        query: Mapping[str, Sequence[str]],
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        """Answer a request.

        Args:
            tenant: whose objects it is about.
            method: of the request.
            resource: the path behind `API`.
            query: of the request, each name with all of its values.
            headers: of the request, their names in lower case.
            body: of the request.
        """
        if method != "GET" and "osd-xsrf" not in headers:
            return _error(400, "Bad Request", "Request must contain a osd-xsrf header.")
        match method, [unquote(part) for part in resource.split("/")]:
            case "GET", ["_find"]:
                return 200, self._find(tenant, query)
            case "POST", ["_import"]:
                file = _file(headers["content-type"], body)
                return 200, self._import(tenant, file, _is_true(query, "overwrite"))
            case "POST", [saved_type, saved_id]:
                key = saved_type, saved_id
                if key in self.of(tenant) and not _is_true(query, "overwrite"):
                    message = f"Saved object [{saved_type}/{saved_id}] conflict"
                    return _error(409, "Conflict", message)
                self._write(tenant, key, json.loads(body))
                return 200, self.of(tenant)[key]
            case "GET" | "DELETE", [saved_type, saved_id]:
                return self._one(tenant, method, (saved_type, saved_id))
        return _error(404, "Not Found", "Not Found")

    def _find(self, tenant: str, query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        types = query["type"]
        [page], [per_page] = (
            map(int, query.get(name, default))
            for name, default in (("page", ["1"]), ("per_page", ["20"]))
        )
        found = [
            found
            for (saved_type, _), found in sorted(self.of(tenant).items())
            if saved_type in types
        ]
        shown = found[(page - 1) * per_page : page * per_page]
        return {"page": page, "per_page": per_page, "total": len(found), "saved_objects": shown}

    def _one(self, tenant: str, method: str, key: Key) -> Answer:
        if key not in self.of(tenant):
            message = f"Saved object [{'/'.join(key)}] not found"
            return _error(404, "Not Found", message)
        if method == "GET":
            return 200, self.of(tenant)[key]
        del self.of(tenant)[key]
        return 200, {}

    def _import(self, tenant: str, file: str, overwrite: bool) -> dict[str, Any]:
        """Nothing is written where people could say what to do about a failure."""
        imported = {
            (item["type"], item["id"]): item for item in map(json.loads, file.splitlines()) if item
        }
        errors = []
        for key, item in imported.items():
            if error := self._failure(tenant, key, item, imported.keys(), overwrite):
                title = item["attributes"].get("title")
                errors.append(
                    {"type": key[0], "id": key[1], "meta": {"title": title}, "error": error}
                )
        if not errors:
            for key, item in imported.items():
                self._write(tenant, key, item)
        succeeded = [] if errors else [{"type": key[0], "id": key[1]} for key in imported]
        answer: dict[str, Any] = {"successCount": len(succeeded), "success": not errors}
        return answer | ({"errors": errors} if errors else {"successResults": succeeded})

    def _failure(
        self,
        tenant: str,
        key: Key,
        item: Mapping[str, Any],
        imported: Any,
        overwrite: bool,
    ) -> dict[str, Any] | None:
        if key[0] not in _TYPES:
            return {"type": "unsupported_type"}
        missing = [
            {"type": reference["type"], "id": reference["id"]}
            for reference in item.get("references", [])
            if reference["type"] in _CHECKED_REFERENCES
            and (reference["type"], reference["id"]) not in (*imported, *self.of(tenant))
        ]
        if missing:
            return {"type": "missing_references", "references": missing}
        if key in self.of(tenant) and not overwrite:
            return {"type": "conflict"}
        return None

    def _write(self, tenant: str, key: Key, item: Mapping[str, Any]) -> None:
        number = next(self._writes)
        self.of(tenant)[key] = {
            "type": key[0],
            "id": key[1],
            "attributes": self._migrate(copy.deepcopy(item["attributes"])),
            "references": list(item.get("references", [])),
            "migrationVersion": {key[0]: _NEWEST_VERSION},
            "updated_at": f"2026-01-01T00:00:00.{number:03}Z",
            "version": f"W{number}",
            "namespaces": ["default"],
        }


def _is_true(query: Mapping[str, Sequence[str]], name: str) -> bool:
    return list(query.get(name, ())) == ["true"]


def _file(content_type: str, body: bytes) -> str:
    """The file of a form."""
    form = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    [part] = [part for part in form.walk() if part.get_filename()]
    return _text(part)


def _text(part: Message) -> str:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)  # noqa: S101 - a file has no parts
    return content.decode()


def _error(status: int, error: str, message: str) -> Answer:
    return status, {"statusCode": status, "error": error, "message": message}
