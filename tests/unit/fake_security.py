"""A security plugin in front of a fake cluster: who may do what, and its REST API."""

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

from opensearchpy import OpenSearch

from snapferry.clients import _ExplainingTransport
from snapferry_sandbox.opensearch.permissions import needed
from tests.unit.fakes import Answer, FakeCluster, Request, _FakeConnection

_FLAGS = {"reserved": False, "hidden": False}


@dataclass
class FakeSecurity:
    """The plugin of one cluster.

    Attributes:
        cluster: what it protects.
        api: the path of its REST API; None where the cluster has no such plugin.
        roles: definitions by name, as they were put.
        mappings: by the role's name.
        administrators: who may use the REST API.
        reserved: roles whose mapping nobody may change.
        takes_effect_after: how many requests it takes until a mapping counts.
        requests: all that came.
        others: resources of other kinds, by their kind and their name.
        closed_tenants: that nobody may use.
    """

    cluster: FakeCluster
    api: str | None = "/_plugins/_security/api"
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)
    mappings: dict[str, dict[str, Any]] = field(default_factory=dict)
    administrators: set[str] = field(default_factory=lambda: {"admin"})
    reserved: set[str] = field(default_factory=set)
    takes_effect_after: int = 0
    requests: list[Request] = field(default_factory=list)
    others: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    closed_tenants: set[str] = field(default_factory=set)

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """By the kind's name in the API."""
        named = {"roles": self.roles, "rolesmapping": self.mappings}
        return named[kind] if kind in named else self.others.setdefault(kind, {})

    def __post_init__(self) -> None:
        self.roles["manage_snapshots"] = {
            "cluster_permissions": ["cluster:admin/snapshot/*", "cluster:admin/repository/*"],
            "index_permissions": [],
        }

    def client(self, user: str) -> OpenSearch:
        """The product's client for a user; an ARN is its own backend role, as on a domain."""
        return OpenSearch(
            hosts=[{"host": "cluster.example", "port": 443}],
            connection_class=_FakeConnection,
            transport_class=_ExplainingTransport,
            cluster="cluster",
            fake=_Door(self, user),
            max_retries=0,
        )

    def permissions(self, user: str, scope: str) -> set[str]:
        held: set[str] = set()
        for role, mapping in self.mappings.items():
            kind = "backend_roles" if user.startswith("arn:") else "users"
            if user not in mapping.get(kind, []):
                continue
            if scope == "cluster":
                held |= set(self.roles[role]["cluster_permissions"])
            for permissions in self.roles[role]["index_permissions"]:
                if scope == "indices" and permissions["index_patterns"] == ["*"]:
                    held |= set(permissions["allowed_actions"])
        return held


@dataclass
class _Door:
    """The cluster as a user reaches it."""

    security: FakeSecurity
    user: str

    def answer(self, request: Request) -> Answer:
        security = self.security
        security.requests.append(request)
        if re.match(r"/_(plugins|opendistro)/_security/", request.path):
            return self._administer(request)
        if security.api and self.user not in security.administrators:
            if security.takes_effect_after and security.mappings:
                security.takes_effect_after -= 1
                return _forbidden("an old state", self.user)
            for permission, held in self._needed(request):
                if not any(fnmatchcase(permission, pattern) for pattern in held):
                    return _forbidden(permission, self.user)
        return security.cluster.answer(request)

    def _needed(self, request: Request) -> list[tuple[str, set[str]]]:
        needs = needed(request.method, request.path)
        if needs is None:
            raise NotImplementedError(f"{request.method} {request.path}")
        return [
            (name, self.security.permissions(self.user, scope))
            for scope, names in zip(("cluster", "indices"), needs, strict=True)
            for name in names
        ]

    def _administer(self, request: Request) -> Answer:
        security = self.security
        if not security.api or not request.path.startswith(security.api):
            return 400, {"error": f"no handler found for uri [{request.path}]"}
        if request.path == f"{security.api}/account":
            open_tenants = {"global_tenant", *security.resources("tenants")}
            tenants = dict.fromkeys((open_tenants - security.closed_tenants) | {self.user}, True)
            return 200, {"user_name": self.user, "tenants": tenants}
        if self.user not in security.administrators:
            return 403, {"status": "FORBIDDEN", "message": "No permission to access REST API"}
        kind, _, name = request.path.removeprefix(f"{security.api}/").partition("/")
        name = unquote(name)
        resources = security.resources(kind)
        if request.method != "GET" and name in security.reserved:
            return 403, {"status": "FORBIDDEN", "message": f"Resource '{name}' is reserved."}
        if request.method == "PUT":
            if name not in security.roles and kind == "rolesmapping":
                return 404, {"status": "NOT_FOUND", "message": f"role '{name}' not found."}
            if request.body.keys() & {"hidden", "static"}:
                return 400, {"status": "error", "reason": "Invalid configuration"}
            if kind == "internalusers" and "password" not in request.body:
                return 400, {"status": "error", "reason": "password is missing"}
            resources[name] = json.loads(json.dumps(request.body))
            return 200, {"status": "OK"}
        if not name:
            return 200, {name: self._shown(kind, one) for name, one in resources.items()}
        if name not in resources:
            return 404, {"status": "NOT_FOUND", "message": f"{kind} '{name}' not found."}
        if request.method == "DELETE":
            del resources[name]
            return 200, {"status": "OK"}
        return 200, {name: self._shown(kind, resources[name])}

    def _shown(self, kind: str, resource: dict[str, Any]) -> dict[str, Any]:
        if kind == "rolesmapping":
            empty: dict[str, Any] = {
                "hosts": [],
                "users": [],
                "backend_roles": [],
                "and_backend_roles": [],
            }
            return empty | resource | _FLAGS
        shown = json.loads(json.dumps(resource))
        if kind != "roles":
            shown.pop("password", None)
            hidden = {"hash": ""} if kind == "internalusers" else {}
            return {**hidden, **_FLAGS, "static": False, **shown}
        for permissions in shown.setdefault("index_permissions", []):
            permissions |= {"dls": None, "fls": [], "masked_fields": []}
            permissions["allowed_actions"].reverse()
        return {**_FLAGS, "tenant_permissions": [], "static": False, **shown}


def _forbidden(permission: str, user: str) -> Answer:
    reason = f"no permissions for [{permission}] and User [name={user}, backend_roles=[]]"
    cause = {"type": "security_exception", "reason": reason}
    return 403, {"error": {"root_cause": [cause], **cause}, "status": 403}
