"""Who calls, what they may do, and the REST API that says so.

Sources: https://docs.opensearch.org/latest/security/access-control/api/ and, for what a request
needs and for the texts, the plugin itself.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from snapferry_sandbox.opensearch.permissions import needed
from snapferry_sandbox.opensearch.stand_in import Configuration

_STATIC_ROLES: dict[str, dict[str, Any]] = {
    "all_access": {
        "cluster_permissions": ["*"],
        "index_permissions": [{"index_patterns": ["*"], "allowed_actions": ["*"]}],
    },
    "manage_snapshots": {
        "cluster_permissions": ["cluster:admin/repository/*", "cluster:admin/snapshot/*"],
        "index_permissions": [
            {
                "index_patterns": ["*"],
                "allowed_actions": ["indices:admin/create", "indices:data/write/index"],
            }
        ],
    },
}
_NO_MAPPING: dict[str, Any] = {
    "backend_roles": [],
    "hosts": [],
    "users": [],
    "and_backend_roles": [],
}


class DeniedError(Exception):
    """A request that the plugin answers itself."""

    def __init__(self, status: int, body: Any) -> None:
        """Make the answer.

        Args:
            status: HTTP status.
            body: the answer's JSON, or its text.
        """
        super().__init__(body)
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    name: str
    backend_roles: tuple[str, ...]


class Security:
    """Users, roles and their mappings.

    Args:
        configuration: of the stand-in.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._api = configuration.security_api
        self._identity_headers = configuration.identity_headers
        self._resources: dict[str, dict[str, dict[str, Any]]] = {
            "internalusers": {
                configuration.user: {"password": configuration.password, "backend_roles": ["admin"]}
            },
            "actiongroups": {},
            "tenants": {},
            "roles": dict(_STATIC_ROLES),
            "rolesmapping": {
                "all_access": {"backend_roles": ["admin"]},
                "manage_snapshots": {"backend_roles": ["snapshotrestore"]},
            },
        }

    def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """Return who calls: whom a front states, or who knows a user's password.

        Raises:
            DeniedError: nobody does.
        """
        stated = self._identity_headers
        if stated and stated.user in headers:
            return Caller(headers[stated.user], tuple(headers[stated.roles].split(",")))
        kind, _, credentials = headers.get("Authorization", "").partition(" ")
        try:
            text = base64.b64decode(credentials, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
        name, _, password = text.partition(":")
        user = self._resources["internalusers"].get(name)
        if (
            kind != "Basic"
            or user is None
            or not hmac.compare_digest(user["password"].encode(), password.encode())
        ):
            raise DeniedError(401, "Unauthorized")
        return Caller(name, tuple(user.get("backend_roles", ())))

    def authorize(self, caller: Caller, method: str, path: str) -> None:
        """Check that a caller has the permissions that a request needs.

        Raises:
            DeniedError: one is missing.
        """
        on_cluster, on_indices = needed(method, path) or (("*",), ())
        names = path.split("/")[1].split(",")
        for permission in on_cluster:
            if not self._may(caller, permission, None):
                raise _no_permissions(caller, permission)
        for permission in on_indices:
            if not all(self._may(caller, permission, name) for name in names):
                raise _no_permissions(caller, permission)

    def _may(self, caller: Caller, permission: str, index: str | None) -> bool:
        """Whether a caller has a permission: on an index, or on the cluster."""
        return any(
            fnmatchcase(permission, pattern)
            for name, mapping in self._resources["rolesmapping"].items()
            if _is_mapped(caller, mapping)
            for pattern in _allowed(self._resources["roles"][name], index)
        )

    def is_api(self, path: str) -> bool:
        """Whether a path is that of the plugin's REST API."""
        return path.startswith(f"{self._api}/")

    def administer(
        self, caller: Caller, method: str, path: str, body: bytes
    ) -> tuple[int, dict[str, Any]]:
        """Answer a request to the REST API.

        Returns:
            Status and body.
        """
        if path == f"{self._api}/health":
            return 200, {"message": None, "mode": "strict", "status": "UP"}
        if path == f"{self._api}/api/account":
            return 200, self._account(caller)
        if not self._may(caller, "*", None):
            return 403, {"status": "FORBIDDEN", "message": "No permission to access REST API"}
        kind, _, name = path.removeprefix(f"{self._api}/api/").partition("/")
        if kind not in self._resources:
            return 404, {"status": "NOT_FOUND", "message": f"{kind} isn't stood in for."}
        resources = self._resources[kind]
        if method == "GET" and not name:
            return 200, {key: self._shown(kind, key) for key in resources}
        if method == "PUT":
            return self._put(kind, name, json.loads(body))
        if name not in resources:
            return 404, {"status": "NOT_FOUND", "message": f"{kind} '{name}' not found."}
        if method == "GET":
            return 200, {name: self._shown(kind, name)}
        if self._is_reserved(kind, name):
            return 403, {"status": "FORBIDDEN", "message": f"Resource '{name}' is reserved."}
        del resources[name]
        return 200, {"status": "OK", "message": f"'{name}' deleted."}

    def _account(self, caller: Caller) -> dict[str, Any]:
        """Who calls, and which tenants they may use; without the permissions by tenant."""
        tenants = {caller.name, "global_tenant"}
        if self._may(caller, "*", None):
            tenants |= self._resources["tenants"].keys()
        return {
            "user_name": caller.name,
            "backend_roles": list(caller.backend_roles),
            "tenants": dict.fromkeys(sorted(tenants), True),
        }

    def _put(self, kind: str, name: str, definition: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        resources = self._resources[kind]
        if self._is_reserved(kind, name):
            return 403, {"status": "FORBIDDEN", "message": f"Resource '{name}' is reserved."}
        if kind == "rolesmapping" and name not in self._resources["roles"]:
            return 404, {"status": "NOT_FOUND", "message": f"role '{name}' not found."}
        if definition.keys() & {"hidden", "static"}:
            return 400, {"status": "error", "reason": "Invalid configuration"}
        existed = name in resources
        resources[name] = definition
        if existed:
            return 200, {"status": "OK", "message": f"'{name}' updated."}
        return 201, {"status": "CREATED", "message": f"'{name}' created."}

    def _is_reserved(self, kind: str, name: str) -> bool:
        return kind == "roles" and name in _STATIC_ROLES

    def _shown(self, kind: str, name: str) -> dict[str, Any]:
        definition = self._resources[kind][name]
        flags = {"hidden": False, "reserved": self._is_reserved(kind, name)}
        match kind:
            case "rolesmapping":
                return _NO_MAPPING | definition | flags
            case "internalusers":
                shown = {key: value for key, value in definition.items() if key != "password"}
                return shown | {"hash": ""} | flags
        return definition | flags | {"static": flags["reserved"]}


def _is_mapped(caller: Caller, mapping: Mapping[str, Any]) -> bool:
    return caller.name in mapping.get("users", ()) or bool(
        set(caller.backend_roles) & set(mapping.get("backend_roles", ()))
    )


def _allowed(role: Mapping[str, Any], index: str | None) -> list[str]:
    """The patterns of what a role allows: on an index, or on the cluster."""
    if index is None:
        return list(role.get("cluster_permissions", ()))
    return [
        action
        for part in role.get("index_permissions", ())
        if any(fnmatchcase(index, pattern) for pattern in part["index_patterns"])
        for action in part["allowed_actions"]
    ]


def _no_permissions(caller: Caller, permission: str) -> DeniedError:
    reason = (
        f"no permissions for [{permission}] and User [name={caller.name}, "
        f"backend_roles=[{', '.join(caller.backend_roles)}], requestedTenant=null]"
    )
    cause = {"type": "security_exception", "reason": reason}
    return DeniedError(403, {"error": {"root_cause": [cause], **cause}, "status": 403})
