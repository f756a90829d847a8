"""Two artifacts or more of each kind, as people make them."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from tests.sandbox.migrations import Sandbox, Side

SECURITY = "/_plugins/_security/api"
_MAPPED = {"properties": {"host": {"type": "keyword"}, "@timestamp": {"type": "date"}}}


@dataclass(frozen=True)
class Kind:
    """What a source has of a kind.

    Attributes:
        name: as the product calls it.
        path: of its API.
        bodies: what is put, by name.
    """

    name: str
    path: str
    bodies: dict[str, Any]

    def put(self, cluster: OpenSearch, name: str, body: Any) -> None:
        cluster.transport.perform_request("PUT", f"{self.path}/{quote(name, safe='')}", body=body)

    def get(self, cluster: OpenSearch, name: str) -> Any:
        """What the cluster says of one; None where it has none."""
        try:
            return cluster.transport.perform_request("GET", f"{self.path}/{quote(name, safe='')}")
        except NotFoundError:
            return None

    def remove(self, cluster: OpenSearch, name: str) -> None:
        cluster.transport.perform_request(
            "DELETE", f"{self.path}/{quote(name, safe='')}", params={"ignore": 404}
        )


class SavedKind(Kind):
    """What Dashboards has of a kind, by tenant and id."""

    def put(self, cluster: OpenSearch, name: str, body: Any) -> None:
        self._ask(cluster, "POST", name, body)

    def get(self, cluster: OpenSearch, name: str) -> Any:
        try:
            found = self._ask(cluster, "GET", name)
        except NotFoundError:
            return None
        return {part: found[part] for part in ("attributes", "references")}

    def remove(self, cluster: OpenSearch, name: str) -> None:
        with suppress(NotFoundError):
            self._ask(cluster, "DELETE", name)

    def _ask(self, cluster: OpenSearch, method: str, name: str, body: Any = None) -> Any:
        tenant, _, saved_id = name.partition("/")
        return cluster.transport.perform_request(
            method, f"{self.path}/{saved_id}", body=body, headers={"securitytenant": tenant}
        )


def _saved(title: str, *references: tuple[str, str], **attributes: Any) -> dict[str, Any]:
    return {
        "attributes": {"title": title} | attributes,
        "references": [
            {"name": f"panel_{number}", "type": saved_type, "id": saved_id}
            for number, (saved_type, saved_id) in enumerate(references)
        ],
    }


_PATTERN = ("index-pattern", "art-logs")
# In an order in which they can be made.
KINDS = (
    Kind(
        "stored script",
        "/_scripts",
        {
            "art-raise": {"script": {"lang": "painless", "source": "ctx.n += params.by"}},
            "art-rank": {"script": {"lang": "painless", "source": "doc['n'].value"}},
            "art-half": {"script": {"lang": "expression", "source": "_score / 2"}},
            "art-find": {
                "script": {"lang": "mustache", "source": {"query": {"match": {"a": "{{words}}"}}}}
            },
        },
    ),
    Kind(
        "ingest pipeline",
        "/_ingest/pipeline",
        {
            "art-stamp": {
                "description": "when it came",
                "processors": [{"set": {"field": "came", "value": "{{_ingest.timestamp}}"}}],
            },
            "art-raised": {"processors": [{"script": {"id": "art-raise", "params": {"by": 1}}}]},
            "art-both": {"processors": [{"pipeline": {"name": "art-stamp"}}], "version": 7},
            "art über/all": {"processors": [], "on_failure": [{"drop": {}}]},
        },
    ),
    Kind(
        "search pipeline",
        "/_search/pipeline",
        {
            "art-open": {
                "request_processors": [{"filter_query": {"query": {"term": {"state": "open"}}}}]
            },
            "art-none": {"description": "nothing yet"},
            "art-sample": {"request_processors": [{"oversample": {"sample_factor": 1.5}}]},
        },
    ),
    Kind(
        "component template",
        "/_component_template",
        {
            "art-hosts": {"template": {"mappings": _MAPPED}, "version": 3, "_meta": {"by": "us"}},
            "art-small": {"template": {"settings": {"number_of_shards": 1}}},
            "art-named": {"template": {"aliases": {"art-a": {"filter": {"term": {"host": "a"}}}}}},
        },
    ),
    Kind(
        "legacy template",
        "/_template",
        {
            "art-old": {
                "index_patterns": ["art-old-*"],
                "order": 3,
                "settings": {"index": {"codec": "best_compression", "max_result_window": 20000}},
            },
            "art-plain": {"index_patterns": ["art-plain"], "version": 3},
            "art-older": {
                "index_patterns": ["art-old*", "art-older"],
                "mappings": _MAPPED,
                "aliases": {"art-olds": {"routing": "1"}},
            },
        },
    ),
    Kind(
        "index template",
        "/_index_template",
        {
            "art-streams": {
                "index_patterns": ["art-stream-*"],
                "data_stream": {},
                "composed_of": ["art-hosts", "art-small"],
                "priority": 40,
            },
            "art-bare": {"index_patterns": ["art-bare-*"], "version": 2, "_meta": {"by": "us"}},
            "art-events": {
                "index_patterns": ["art-event-*"],
                "data_stream": {"timestamp_field": {"name": "at"}},
                "priority": 41,
                "template": {"settings": {"number_of_replicas": 0}},
            },
            "art-index": {
                "index_patterns": ["art-index-*"],
                "composed_of": ["art-small", "art-named"],
                "template": {"settings": {"index.default_pipeline": "art-stamp"}},
            },
        },
    ),
    Kind("data stream", "/_data_stream", {"art-stream-a": None, "art-event-b": None}),
    Kind(
        "action group",
        f"{SECURITY}/actiongroups",
        {
            "art-all": {"allowed_actions": ["art-read"], "type": "index"},
            "art-read": {"allowed_actions": ["indices:data/read/*"], "type": "index"},
            "art-watch": {
                "allowed_actions": ["cluster:monitor/main", "cluster:monitor/health"],
                "type": "cluster",
                "description": "watch",
            },
        },
    ),
    Kind(
        "tenant",
        f"{SECURITY}/tenants",
        {"art-sales": {"description": "sales"}, "art-press": {"description": "press"}},
    ),
    Kind(
        "role",
        f"{SECURITY}/roles",
        {
            "art-sales": {
                "cluster_permissions": ["art-watch"],
                "index_permissions": [
                    {
                        "index_patterns": ["art-*", "a*"],
                        "dls": '{"term": {"state": "open"}}',
                        "fls": ["~secret"],
                        "masked_fields": ["name"],
                        "allowed_actions": ["art-read"],
                    }
                ],
                "tenant_permissions": [
                    {"tenant_patterns": ["art-sales"], "allowed_actions": ["kibana_all_read"]}
                ],
            },
            "art-press": {"cluster_permissions": ["cluster_composite_ops_ro"]},
            "art-clerk": {"cluster_permissions": ["cluster_monitor"]},
        },
    ),
    Kind(
        "internal user",
        f"{SECURITY}/internalusers",
        {
            "art-anna": {
                "password": "quite-A-long-1-for-anna",
                "backend_roles": ["sales"],
                "attributes": {"team": "a"},
            },
            "art-bert": {
                "password": "quite-A-long-1-for-bert",
                "opendistro_security_roles": ["art-press"],
            },
        },
    ),
    Kind(
        "role mapping",
        f"{SECURITY}/rolesmapping",
        {
            "art-clerk": {"users": ["art-bert", "art-anna"]},
            "art-sales": {"users": ["art-anna"], "backend_roles": ["sales"]},
            "art-press": {"hosts": ["*.press.example"], "and_backend_roles": ["a", "b"]},
        },
    ),
    SavedKind(
        "saved index-pattern",
        "/api/saved_objects/index-pattern",
        {
            "global/art-logs": _saved("art-*", timeFieldName="@timestamp"),
            "art-sales/art-logs": _saved("art-sales-*", fields='[{"name": "state"}]'),
        },
    ),
    SavedKind(
        "saved visualization",
        "/api/saved_objects/visualization",
        {
            "global/art-pie": _saved("Hosts", _PATTERN, visState='{"type": "pie"}'),
            "art-sales/art-pie": _saved("Sales by state", _PATTERN, visState='{"type": "pie"}'),
        },
    ),
    SavedKind(
        "saved dashboard",
        "/api/saved_objects/dashboard",
        {
            "global/art-all": _saved("Everything", ("visualization", "art-pie"), panelsJSON="[]"),
            "art-sales/art-all": _saved("Sales", ("visualization", "art-pie"), hits=0),
        },
    ),
)
SETTINGS = {
    "action.auto_create_index": "-art-never*,+*",
    "search.max_buckets": "70000",
    "search.default_keep_alive": "7m",
    "search.max_open_scroll_context": "400",
    "point_in_time.max_keep_alive": "3h",
}
# What isn't the people's: of a plugin, of the cluster, of its machines.
OTHERS = (
    Kind("legacy template", "/_template", {"art-hidden": {"index_patterns": [".art-*"]}}),
    Kind(
        "component template",
        "/_component_template",
        {"art-managed": {"template": {}, "_meta": {"managed": True}}},
    ),
)
OTHER_SETTINGS = {"cluster.max_shards_per_node": "2000"}


def put_settings(cluster: OpenSearch, settings: dict[str, Any]) -> None:
    cluster.cluster.put_settings(body={"persistent": settings})


def make(sandbox: Sandbox, side: Side) -> None:
    """Makes everything."""
    for kind in (*KINDS, *OTHERS):
        for name, body in kind.bodies.items():
            kind.put(owner(sandbox, side, kind), name, body)
    put_settings(sandbox.cluster(side), SETTINGS | OTHER_SETTINGS)


def remove(sandbox: Sandbox, side: Side) -> None:
    """Removes everything, as far as it is there."""
    for kind in reversed((*KINDS, *OTHERS)):
        for name in kind.bodies:
            kind.remove(owner(sandbox, side, kind), name)
    put_settings(sandbox.cluster(side), dict.fromkeys(SETTINGS | OTHER_SETTINGS))


def look(sandbox: Sandbox, side: Side) -> dict[str, Any]:
    """What a side has of everything, by kind and name."""
    settings = sandbox.cluster(side).cluster.get_settings(flat_settings=True)["persistent"]
    found = {f"cluster setting {name}": settings.get(name) for name in SETTINGS}
    for kind in KINDS:
        for name in kind.bodies:
            answer = kind.get(owner(sandbox, side, kind), name)
            found[f"{kind.name} {name}"] = _plain(kind, answer)
    return {name: one for name, one in found.items() if one is not None}


def owner(sandbox: Sandbox, side: Side, kind: Kind) -> OpenSearch:
    """A client of what has artifacts of a kind."""
    return sandbox.dashboards(side) if isinstance(kind, SavedKind) else sandbox.cluster(side)


def _plain(kind: Kind, answer: Any) -> Any:
    """Without what is each cluster's own, and with names in order where they have none."""
    if kind.name == "data stream" and answer is not None:
        [stream] = answer["data_streams"]
        return {name: stream[name] for name in ("timestamp_field", "template", "generation")}
    return _sorted(answer) if kind.path.startswith(SECURITY) else answer


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(part) for name, part in value.items()}
    if isinstance(value, list):
        parts = [_sorted(part) for part in value]
        return sorted(parts) if all(isinstance(part, str) for part in parts) else parts
    return value
