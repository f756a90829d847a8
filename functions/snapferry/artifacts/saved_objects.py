"""Saved objects of OpenSearch Dashboards, or of Kibana: index patterns, visualizations, dashboards.

They are read by themselves and imported one by one: an import takes an object to the version of the
destination, refuses one whose references aren't there, and writes over nothing. A definition holds
a digest instead of the object, so that thousands of large ones fit into a function and the journal.

Names are `<tenant>/<id>`. Sources:
https://docs.opensearch.org/latest/dashboards/management/saved-objects-api/ and
https://docs.opensearch.org/latest/security/access-control/api/#account
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from opensearchpy import OpenSearch
from urllib3.filepost import encode_multipart_formdata

from snapferry import plugins, security
from snapferry.errors import AccessDenied, Conflict, NotFound, RequestRefused, Unavailable
from snapferry.request import DomainJob

GLOBAL_TENANT = "global"
# In the order of who refers to whom. Advanced settings are of one version, data sources hold
# secrets, and short URLs count their visitors.
TYPES = (
    "index-pattern",
    "search",
    "query",
    "visualization",
    "visualization-visbuilder",
    "map",
    "timelion-sheet",
    "observability-search",
    "observability-visualization",
    "observability-panel",
    "explore",
    "augment-vis",
    "dashboard",
)
# What Dashboards writes anew from the index itself.
_CACHED_ATTRIBUTES = {"index-pattern": frozenset({"fields"})}
# What makes an object; the rest is of one Dashboards.
_EXPORTED = ("type", "id", "attributes", "references", "migrationVersion")
_PAGE_SIZE = 500


@dataclass(frozen=True)
class Dashboards:
    """Dashboards of a cluster, as a user of its.

    Attributes:
        client: sends requests to where it listens.
        cluster: whose it is, as the same user; it says which tenants they may use.
        base_paths: with which the paths of its API may begin; the first that is there counts.
        known: the tenants as they were told last.
    """

    client: OpenSearch
    cluster: OpenSearch
    base_paths: tuple[str, ...] = ("",)
    known: dict[str, bool] = field(default_factory=dict, compare=False)

    def tenants(self) -> Mapping[str, bool]:
        """The tenants that the user may use, and in which they may write.

        Private ones aren't among them. Without the security plugin there is only the global one.
        """
        self.known.clear()
        try:
            account = security.ask(self.cluster, "GET", "account")
        except (NotFound, RequestRefused):
            self.known[GLOBAL_TENANT] = True
            return self.known
        for name, may_write in account["tenants"].items():
            # Requests can name no others: Dashboards would take another tenant.
            if name != account["user_name"] and name.isascii():
                self.known[GLOBAL_TENANT if name == "global_tenant" else name] = may_write
        return self.known

    def ask(
        self,
        tenant: str,
        method: str,
        resource: str,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """Asks for saved objects of a tenant.

        Raises:
            AccessDenied: the tenant isn't the user's to use: Dashboards would take another one.
            NotFound: there is no such object, or no Dashboards.
        """
        # One that isn't known may have been made since.
        tenants = self.known if tenant in self.known else self.tenants()
        if tenant not in tenants or (method != "GET" and not tenants[tenant]):
            raise AccessDenied(
                f"the tenant {tenant} of Dashboards isn't open to who asks. What to do: give "
                "master_user, or map them to a role with kibana_all_write on this tenant and to "
                "kibana_user."
            )
        return plugins.ask(
            self.client,
            [f"{path}/api/saved_objects" for path in self.base_paths],
            method,
            resource,
            body,
            params,
            # Dashboards wants the one, Kibana the other.
            headers={
                "osd-xsrf": "true",
                "kbn-xsrf": "true",
                "securitytenant": tenant,
                "content-type": content_type,
            },
        )

    def find(self, tenant: str, saved_type: str) -> Iterator[dict[str, Any]]:
        """All objects of a type, page by page.

        Raises:
            RequestRefused: there are more than 10,000, which Dashboards can't list.
            Unavailable: some came or went meanwhile.
        """
        seen: set[str] = set()
        total, page = 1, 0
        while page * _PAGE_SIZE < total:
            page += 1
            params = {
                "type": saved_type,
                "per_page": _PAGE_SIZE,
                "page": page,
                "sort_field": "_id",
            }
            answer = self.ask(tenant, "GET", "_find", params=params)
            total = answer["total"]
            for found in answer["saved_objects"]:
                seen.add(found["id"])
                yield found
        if len(seen) != total:
            raise Unavailable(
                f"saved objects of the type {saved_type} were made or deleted while they were "
                "listed: ask again"
            )


def ask(dashboards: Dashboards, method: str, path: str, body: Any = None) -> Any:
    """Answers as a cluster does for other artifacts: definitions by name.

    Args:
        dashboards: which is asked.
        method: `GET`, `PUT` of one that isn't there, or `DELETE`.
        path: `<type>` for all of a type, otherwise `<type>/<name>`.
        body: the object to put, as `export` gives it.

    Raises:
        Conflict: someone has made one of this name meanwhile.
        NotFound: there is no such object.
        RequestRefused: Dashboards can't import it.
    """
    saved_type, _, name = path.partition("/")
    if not name:
        return {
            f"{tenant}/{found['id']}": _definition(found)
            for tenant in sorted({GLOBAL_TENANT, *dashboards.tenants()})
            for found in dashboards.find(tenant, saved_type)
        }
    if method == "PUT":
        return _import(dashboards, unquote(name), body)
    found = dashboards.ask(*_one(method, saved_type, unquote(name)))
    return {unquote(name): _definition(found)} if method == "GET" else found


def export(dashboards: Dashboards, saved_type: str, name: str) -> dict[str, Any]:
    """What an import takes: an object without what is of its Dashboards alone."""
    found = dashboards.ask(*_one("GET", saved_type, name))
    return {part: found[part] for part in _EXPORTED if part in found}


def kind_name(saved_type: str) -> str:
    """What objects of a type are called among artifacts."""
    return f"saved {saved_type}"


def needs(name: str, definition: Any) -> Iterator[tuple[str, str]]:
    """What an object refers to, and the tenant in which it is."""
    tenant, _, _ = name.partition("/")
    if tenant != GLOBAL_TENANT:
        yield "tenant", tenant
    for saved_type, saved_id in definition["references"]:
        yield kind_name(saved_type), f"{tenant}/{saved_id}"


def is_selected(name: str, job: DomainJob) -> bool:
    """Whether the tenant comes along: others than the global one go with security."""
    return name.startswith(f"{GLOBAL_TENANT}/") or "security" in job.artifacts.include


def with_title(definition: Any, _: int) -> tuple[Any, list[str]]:
    """The object as it is, and its title, by which people know it."""
    return definition, [f"its title is {definition['title']}"] if definition["title"] else []


def _one(method: str, saved_type: str, name: str) -> tuple[str, str, str]:
    tenant, _, saved_id = name.partition("/")
    return tenant, method, f"{saved_type}/{quote(saved_id, safe='')}"


def _definition(found: Mapping[str, Any]) -> dict[str, Any]:
    """What an object is, whenever and by which version it was written."""
    cached = _CACHED_ATTRIBUTES.get(found["type"], frozenset())
    attributes = {name: value for name, value in found["attributes"].items() if name not in cached}
    references = sorted(
        [reference["type"], reference["id"], reference["name"]]
        for reference in found.get("references", [])
    )
    content = json.dumps([attributes, references], sort_keys=True)
    return {
        "title": attributes.get("title", ""),
        "references": [reference[:2] for reference in references],
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
    }


def _import(dashboards: Dashboards, name: str, exported: Mapping[str, Any]) -> Any:
    """Imports an object; the answer says what failed, and its status is 200 in any case."""
    tenant, _, _ = name.partition("/")
    file = ("saved.ndjson", json.dumps(exported), "application/ndjson")
    body, content_type = encode_multipart_formdata({"file": file})
    answer = dashboards.ask(tenant, "POST", "_import", body, {"overwrite": "false"}, content_type)
    for failed in answer.get("errors", []):
        error = failed["error"]
        match error["type"]:
            case "conflict" | "ambiguous_conflict":
                raise Conflict("someone else has made another one of this id meanwhile")
            case "missing_references":
                missing = ", ".join(f"{one['type']} {one['id']}" for one in error["references"])
                raise RequestRefused(f"it refers to what isn't there: {missing}")
            case "unsupported_type":
                raise RequestRefused("the destination's Dashboards knows no such type")
        raise RequestRefused(f"Dashboards can't import it: {error.get('message', error['type'])}")
    return answer
