"""A security plugin in front of a fake cluster: who may do what, and its REST API.

What each request needs was measured on OpenSearch 3.6.
"""

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from opensearchpy import OpenSearch

from snapferry.clients import _ExplainingTransport
from tests.unit.fakes import Answer, FakeCluster, Request, _FakeConnection

# The first that matches: method and path, then the permissions on the cluster, then on the index.
_NEEDS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (r"GET /", ("cluster:monitor/main",), ()),
    (r"GET /_cluster/health", ("cluster:monitor/health",), ()),
    (r"GET /_cluster/state/.*", ("cluster:monitor/state",), ()),
    (r"GET /_cluster/pending_tasks", ("cluster:monitor/task",), ()),
    (r"GET /_cat/.*", ("cluster:monitor/*",), ("indices:monitor/*",)),
    (r"GET /_cluster/settings", ("cluster:monitor/state",), ()),
    (r"PUT /_cluster/settings", ("cluster:admin/settings/update",), ()),
    (r"POST /_cluster/allocation/explain", ("cluster:monitor/allocation/explain",), ()),
    (r"GET /_snapshot/[^/]+", ("cluster:admin/repository/get",), ()),
    (r"PUT /_snapshot/[^/]+", ("cluster:admin/repository/put",), ()),
    (r"DELETE /_snapshot/[^/]+", ("cluster:admin/repository/delete",), ()),
    (r"POST /_snapshot/[^/]+/_verify", ("cluster:admin/repository/verify",), ()),
    (r"GET /_snapshot/[^/]+/[^/]+", ("cluster:admin/snapshot/get",), ()),
    (r"PUT /_snapshot/[^/]+/[^/]+", ("cluster:admin/snapshot/create",), ()),
    (r"DELETE /_snapshot/[^/]+/[^/]+", ("cluster:admin/snapshot/delete",), ()),
    (r"GET /_snapshot/[^/]+/[^/]+/_status", ("cluster:admin/snapshot/status",), ()),
    (r"POST /_bulk", ("indices:data/write/bulk",), ()),
    (r"POST /[^/]+/_mget", ("indices:data/read/mget",), ()),
    (r"POST /_aliases", (), ("indices:admin/aliases",)),
    (r"GET /[^/]+/_settings", (), ("indices:monitor/settings/get",)),
    (r"PUT /[^/]+/_settings", (), ("indices:admin/settings/update",)),
    (r"GET /[^/]+/_stats", (), ("indices:monitor/stats",)),
    (r"GET /[^/]+/_recovery", (), ("indices:monitor/recovery",)),
    (r"GET /[^/]+/_alias", (), ("indices:admin/aliases/get",)),
    (r"GET /[^/]+/_mapping", (), ("indices:admin/mappings/get",)),
    (r"PUT /[^/]+/_mapping", (), ("indices:admin/mapping/put",)),
    (r"POST /[^/]+/_refresh", (), ("indices:admin/refresh",)),
    (r"POST /[^/]+/_flush", (), ("indices:admin/flush",)),
    (r"POST /[^/]+/_search", (), ("indices:data/read/search",)),
    (r"PUT /[^/]+/_block/write", (), ("indices:admin/block/add",)),
    (r"POST /[^/]+/_close", (), ("indices:admin/close",)),
    (r"POST /[^/]+/_open", (), ("indices:admin/open",)),
    (r"PUT /[^/]+/_doc/[^/]+", (), ("indices:data/write/index",)),
    (r"DELETE /[^/]+/_doc/[^/]+", (), ("indices:data/write/delete",)),
    (r"GET /[^/]+", (), ("indices:admin/get",)),
    (r"PUT /[^/]+", (), ("indices:admin/create",)),
    (r"DELETE /[^/]+", (), ("indices:admin/delete",)),
)
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
    """

    cluster: FakeCluster
    api: str | None = "/_plugins/_security/api"
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)
    mappings: dict[str, dict[str, Any]] = field(default_factory=dict)
    administrators: set[str] = field(default_factory=lambda: {"admin"})
    reserved: set[str] = field(default_factory=set)
    takes_effect_after: int = 0
    requests: list[Request] = field(default_factory=list)

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
        line = f"{request.method} {request.path}"
        for pattern, on_cluster, on_indices in _NEEDS:
            if re.fullmatch(pattern, line):
                return [
                    (name, self.security.permissions(self.user, scope))
                    for scope, names in (("cluster", on_cluster), ("indices", on_indices))
                    for name in names
                ]
        raise NotImplementedError(line)

    def _administer(self, request: Request) -> Answer:
        security = self.security
        if not security.api or not request.path.startswith(security.api):
            return 400, {"error": f"no handler found for uri [{request.path}]"}
        if self.user not in security.administrators:
            return 403, {"status": "FORBIDDEN", "message": "No permission to access REST API"}
        kind, name = request.path.removeprefix(f"{security.api}/").split("/")
        resources = security.roles if kind == "roles" else security.mappings
        if request.method != "GET" and name in security.reserved:
            return 403, {"status": "FORBIDDEN", "message": f"Resource '{name}' is reserved."}
        if request.method == "PUT":
            if name not in security.roles and kind == "rolesmapping":
                return 404, {"status": "NOT_FOUND", "message": f"role '{name}' not found."}
            if request.body.keys() & {"hidden", "static"}:
                return 400, {"status": "error", "reason": "Invalid configuration"}
            resources[name] = json.loads(json.dumps(request.body))
            return 200, {"status": "OK"}
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
        for permissions in shown["index_permissions"]:
            permissions |= {"dls": None, "fls": [], "masked_fields": []}
            permissions["allowed_actions"].reverse()
        return {**shown, **_FLAGS, "tenant_permissions": [], "static": False}


def _forbidden(permission: str, user: str) -> Answer:
    reason = f"no permissions for [{permission}] and User [name={user}, backend_roles=[]]"
    cause = {"type": "security_exception", "reason": reason}
    return 403, {"error": {"root_cause": [cause], **cause}, "status": 403}
