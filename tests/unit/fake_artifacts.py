"""The artifacts of a fake cluster, as OpenSearch 3.6 keeps and shows them (measured there).

Index State Management is the one of its documentation: https://docs.opensearch.org/latest/im-plugin/ism/api/
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

type Refusal = tuple[int, str, str]
"""Status, type and reason."""

_TEMPLATES = {"_component_template": "component_template", "_index_template": "index_template"}
_PIPELINES = ("_ingest/pipeline", "_search/pipeline")
_LANGUAGES = ("painless", "mustache", "expression")


class Refused(Exception):  # noqa: N818 - it becomes an answer
    """What the cluster refuses."""

    def __init__(self, *refusal: Any) -> None:
        super().__init__(refusal)
        self.refusal: Refusal = refusal


@dataclass
class FakeArtifacts:
    """Templates, pipelines, scripts and data streams.

    Attributes:
        kept: definitions by name, as they were put, by the path of their API.
        documents: of data streams, by their name.
        managed: the policy of each index that has one.
        ism: the path of the plugin's API.
        unknown_settings: of indices, that no template may have.
    """

    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    managed: dict[str, str] = field(default_factory=dict)
    ism: str = "/_plugins/_ism"
    unknown_settings: set[str] = field(default_factory=set)

    def of(self, collection: str) -> dict[str, Any]:
        return self.kept.setdefault(collection, {})

    def answer(self, method: str, path: str, body: Any) -> Any:
        """Answers a request; None where it isn't about artifacts.

        Raises:
            Refused: the cluster doesn't do that.
        """
        if re.match(r"/_(plugins|opendistro)/_ism/", path):
            return self._manage(method, path, body)
        if count := re.fullmatch(r"/([^/]+)/_count", path):
            return {"count": self.documents.get(count[1], 0)}
        match = re.fullmatch(
            r"/(_template|_component_template|_index_template|_ingest/pipeline|_search/pipeline|"
            r"_scripts|_data_stream)(?:/([^/]+))?",
            path,
        )
        if not match:
            return None
        collection, name = match[1], match[2] and unquote(match[2])
        if method == "PUT":
            self._put(collection, name, body)
            return {"acknowledged": True}
        found = self._found(collection, name)
        if method == "DELETE":
            if not found and collection not in (*_PIPELINES, "_data_stream"):
                raise Refused(404, "resource_not_found_exception", f"[{name}] missing")
            self.of(collection).pop(name, None)
            return {"acknowledged": True}
        if not found and (name or collection in _PIPELINES):
            raise Refused(404, "resource_not_found_exception", f"[{name}] missing")
        return _shown(collection, name, found)

    def _manage(self, method: str, path: str, body: Any) -> Any:
        if not path.startswith(self.ism):
            raise Refused(400, "", f"no handler found for uri [{path}] and method [{method}]")
        resource, _, name = path.removeprefix(f"{self.ism}/").partition("/")
        if resource == "explain":
            explained = {
                index: {"index": index, "policy_id": policy, "enabled": True}
                for index, policy in self.managed.items()
                if name in ("*", index) or index in name.split(",")
            }
            unmanaged = {
                index: {"policy_id": None}
                for index in name.split(",")
                if name != "*" and index not in explained
            }
            return explained | unmanaged | {"total_managed_indices": len(explained)}
        if resource in ("add", "remove"):
            return self._attach(name, None if resource == "remove" else body["policy_id"])
        policies = self.of("policies")
        if method == "PUT":
            if name in policies:
                raise Refused(409, "version_conflict_engine_exception", f"[{name}]: conflict")
            # It says so itself, and an action has what is left out.
            noted = {"policy_id": name, "last_updated_time": 1, "schema_version": 21}
            policies[name] = body["policy"] | noted | {"error_notification": None}
        shown = {
            one: {"_id": one, "_seq_no": 1, "_primary_term": 1, "policy": policy}
            for one, policy in policies.items()
        }
        if not name:
            return {"policies": list(shown.values()), "total_policies": len(shown)}
        if name not in policies:
            raise Refused(404, "status_exception", "Policy not found")
        if method == "DELETE":
            del policies[name]
        return shown[name]

    def _attach(self, index: str, policy: str | None) -> Any:
        """What is refused is no error."""
        if policy is None:
            reason = "" if self.managed.pop(index, None) else "This index is not being managed"
        elif index in self.managed:
            reason = "This index already has a policy, use the update policy API"
        elif policy not in self.of("policies"):
            raise Refused(404, "status_exception", f"Could not find policy={policy}")
        else:
            self.managed[index], reason = policy, ""
        failed = [{"index_name": index, "index_uuid": "u", "reason": reason}] if reason else []
        return {
            "updated_indices": 1 - len(failed),
            "failures": bool(failed),
            "failed_indices": failed,
        }

    def _found(self, collection: str, name: str | None) -> dict[str, Any]:
        kept = self.of(collection)
        return {one: definition for one, definition in kept.items() if name in (None, one)}

    def _put(self, collection: str, name: str, body: Any) -> None:
        if collection == "_scripts":
            body = body["script"]
            if body["lang"] not in _LANGUAGES:
                raise Refused(400, "illegal_argument_exception", f"unknown lang [{body['lang']}]")
        if collection == "_data_stream":
            body = {"template": self._template_of(name)}
        if collection in (*_TEMPLATES, "_template"):
            inner = body.get("template", {}) if collection in _TEMPLATES else body
            for setting in self.unknown_settings & inner.get("settings", {}).keys():
                raise Refused(400, "settings_exception", f"unknown setting [{setting}]")
        for component in body.get("composed_of", []):
            if component not in self.of("_component_template"):
                reason = f"component templates [{component}] that do not exist"
                raise Refused(400, "invalid_index_template_exception", reason)
        self.of(collection)[name] = body

    def _template_of(self, stream: str) -> str:
        for name, template in self.of("_index_template").items():
            patterns = (re.escape(one).replace(r"\*", ".*") for one in template["index_patterns"])
            if "data_stream" in template and any(re.fullmatch(one, stream) for one in patterns):
                return name
        raise Refused(400, "illegal_argument_exception", f"no matching template for [{stream}]")


def _shown(collection: str, name: str | None, found: dict[str, Any]) -> Any:
    if collection in _TEMPLATES:
        kind = _TEMPLATES[collection]
        return {f"{kind}s": [{"name": name, kind: _template(one)} for name, one in found.items()]}
    if collection == "_template":
        whole = {"order": 0, "aliases": {}, "mappings": {}, "settings": {}}
        return {name: whole | _template(one) for name, one in found.items()}
    if collection == "_data_stream":
        return {
            "data_streams": [
                {"name": name, "timestamp_field": {"name": "@timestamp"}, "generation": 1, **one}
                for name, one in found.items()
            ]
        }
    if collection == "_scripts" and name:
        return {"_id": name, "found": True, "script": found[name]}
    return found


def _template(template: dict[str, Any]) -> dict[str, Any]:
    """Settings are shown as a tree of texts, and a data stream with its default."""
    shown = dict(template)
    if "settings" in shown:
        tree: dict[str, Any] = {}
        for name, value in shown["settings"].items():
            *parents, last = name.split(".") if name.startswith("index.") else ("index", name)
            part = tree
            for parent in parents:
                part = part.setdefault(parent, {})
            part[last] = value if isinstance(value, list) else str(value)
        shown["settings"] = tree
    if "template" in shown:
        shown["template"] = _template(shown["template"])
    if "data_stream" in shown:
        shown["data_stream"] = {"timestamp_field": {"name": "@timestamp"}} | shown["data_stream"]
    return shown
