"""Policies of Index State Management, and which index each is on, by the documented REST API.

None acts: nothing is rolled over or deleted here.

Source: https://docs.opensearch.org/latest/im-plugin/ism/api/
"""

import json
from typing import Any

type Answer = tuple[int, dict[str, Any]]
"""Status and body."""


class IndexManagement:
    """The plugin of one cluster.

    Args:
        security_api: the path of the other plugin, which says how theirs begin.
    """

    def __init__(self, security_api: str) -> None:
        self._api = security_api.replace("_security", "_ism")
        self._policies: dict[str, dict[str, Any]] = {}
        self._managed: dict[str, str] = {}

    def is_api(self, path: str) -> bool:
        """Whether a path is that of the plugin's REST API."""
        return path.startswith(f"{self._api}/")

    def index_of(self, path: str) -> str | None:
        """The index that a request names, and that has to be there; None where it names none."""
        action, name = self._parts(path)
        return name if action in ("add", "remove", "explain") and name != "*" else None

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Answer a request to the REST API, whose index is there."""
        match method, *self._parts(path):
            case "GET", "explain", name:
                return 200, self._explain(name)
            case "POST", "add", index:
                return self._add(index, json.loads(body)["policy_id"])
            case "POST", "remove", index:
                managed = self._managed.pop(index, None)
                return 200, _updated(index, "" if managed else "This index is not being managed")
            case "GET", "policies", "":
                shown = [self._shown(name) for name in self._policies]
                return 200, {"policies": shown, "total_policies": len(shown)}
            case "PUT", "policies", name if name in self._policies:
                return 409, _error("version_conflict_engine_exception", f"[{name}]: conflict")
            case "PUT", "policies", name:
                noted = {"policy_id": name, "last_updated_time": 1, "schema_version": 21}
                self._policies[name] = json.loads(body)["policy"] | noted
                return 201, self._shown(name)
            case _, "policies", name if name not in self._policies:
                return 404, _error("status_exception", "Policy not found")
            case "GET", "policies", name:
                return 200, self._shown(name)
            case "DELETE", "policies", name:
                del self._policies[name]
                return 200, {"_id": name, "result": "deleted"}
        return 400, _error("illegal_argument_exception", f"{method} {path} isn't stood in for")

    def _parts(self, path: str) -> tuple[str, str]:
        action, _, name = path.removeprefix(f"{self._api}/").partition("/")
        return action, name

    def _explain(self, name: str) -> dict[str, Any]:
        wanted = self._managed if name == "*" else {name: self._managed.get(name)}
        explained: dict[str, Any] = {
            index: {"index": index, "policy_id": policy, "enabled": policy and True}
            for index, policy in wanted.items()
        }
        return explained | {"total_managed_indices": sum(map(bool, wanted.values()))}

    def _add(self, index: str, policy: str) -> Answer:
        if policy not in self._policies:
            return 404, _error("status_exception", f"Could not find policy={policy}")
        if index in self._managed:
            return 200, _updated(
                index, "This index already has a policy, use the update policy API"
            )
        self._managed[index] = policy
        return 200, _updated(index, "")

    def _shown(self, name: str) -> dict[str, Any]:
        return {"_id": name, "_seq_no": 1, "_primary_term": 1, "policy": self._policies[name]}


def _updated(index: str, refusal: str) -> dict[str, Any]:
    """What was refused is told, but is no error."""
    failed = [{"index_name": index, "index_uuid": "", "reason": refusal}] if refusal else []
    return {"updated_indices": 1 - len(failed), "failures": bool(failed), "failed_indices": failed}


def _error(kind: str, reason: str) -> dict[str, Any]:
    cause = {"type": kind, "reason": reason}
    return {"error": {"root_cause": [cause], **cause}}
