"""The kinds of artifacts: where a cluster keeps them, and what they need of each other.

Sources: https://docs.opensearch.org/latest/api-reference/ (index-apis, ingest-apis, script-apis,
cluster-api), https://docs.opensearch.org/latest/search-plugins/search-pipelines/index/,
https://docs.opensearch.org/latest/im-plugin/ism/api/ and
https://docs.opensearch.org/latest/security/access-control/api/. For Dashboards see `saved_objects`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, quote

from opensearchpy import OpenSearch

from snapferry import indices, patterns, plugins, security
from snapferry.artifacts import saved_objects
from snapferry.artifacts.saved_objects import Dashboards
from snapferry.artifacts.translation import translate_template, with_timestamp_field
from snapferry.errors import NotFound, RequestRefused
from snapferry.indices import some
from snapferry.request import OWN_PREFIX, ArtifactGroup, DomainJob

# Settings that applications feel. Those that follow from a cluster's machines, its size or its
# operation stay what they are at the destination.
_KEPT_SETTINGS = frozenset(
    {
        "action.auto_create_index",
        "action.destructive_requires_name",
        "cluster.default_number_of_replicas",
        "indices.query.bool.max_clause_count",
        "plugins.index_state_management.enabled",
        "plugins.ppl.enabled",
        "plugins.query.size_limit",
        "plugins.sql.enabled",
        "point_in_time.max_keep_alive",
        "script.max_compilations_rate",
        "search.allow_expensive_queries",
        "search.cancel_after_time_interval",
        "search.default_allow_partial_results",
        "search.default_keep_alive",
        "search.default_search_timeout",
        "search.max_buckets",
        "search.max_keep_alive",
        "search.max_open_scroll_context",
    }
)
# Templates of plugins that don't say so themselves.
_PLUGIN_TEMPLATES = frozenset({"ss4o_metrics_template", "ss4o_traces_template", "tenant_template"})
INTERNAL_USER = "internal user"
_EMPTY = "without documents: its backing indices are hidden, and stay"
_POLICY_OF_INDEX = (
    "policy_id",
    "index.plugins.index_state_management.policy_id",
    "index.opendistro.index_state_management.policy_id",
)
# What the plugin notes in a policy, and no policy is made with.
_POLICY_NOTES = ("last_updated_time", "policy_id", "schema_version", "user")

type Definitions = dict[str, Any]
"""Definitions of artifacts by their names."""
type Client = OpenSearch | Dashboards
"""Of what has artifacts."""
type Owner = Literal["cluster", "administrator", "dashboards"]
"""Who has artifacts: a cluster, to whom it is or to its administrator alone, or its Dashboards."""


def _ask(cluster: OpenSearch, method: str, path: str, body: Any = None) -> Any:
    path, _, query = path.partition("?")
    return cluster.transport.perform_request(
        method, f"/{path}", params=dict(parse_qsl(query)), body=body
    )


def _as_it_is(answer: Any) -> Definitions:
    definitions: Definitions = answer
    return definitions


def _is_dotted(name: str, _: Any) -> bool:
    return name.startswith(".")


@dataclass(frozen=True)
class Kind:
    """A kind of artifact.

    Attributes:
        name: in the singular.
        group: that of the input to which it belongs.
        path: of one, with `{name}`; it is put and deleted there.
        all: the path of all of them.
        definitions: finds them in the answer to a GET of one of these paths.
        body: what is put, of name and definition.
        removal: the method that removes one; `PUT` does so with None as the definition.
        is_internal: whether one, by name and definition, is the cluster's own or a plugin's.
        needs: which others one refers to, as pairs of kind and name.
        translate: makes a definition one of the destination, by its major version; also says what
            there is to say of that.
        consequences: what people have to know of one that is created, by its name, its definition,
            the source and the destination.
        ask: asks the owner, by method, path and body.
        owner: who is asked.
        is_optional: whether an engine may know no such kind, and says so by an error.
        is_of_plugin: whether it isn't found where the plugin is missing; one that refuses to tell
            what it has is too old for that.
        is_selected: whether the rest of the input wants one, by its name.
        rest: reads at the source what of one a definition leaves out, by its name.
        when_moved: whether it is written only when clients have moved, as it acts on indices.
        is_foreseen: whether its verdict is known before it is written.
    """

    name: str
    group: ArtifactGroup
    path: str
    all: str
    definitions: Callable[[Any], Definitions] = _as_it_is
    body: Callable[[str, Any], Any] = lambda _, definition: definition
    removal: Literal["DELETE", "PUT"] = "DELETE"
    is_internal: Callable[[str, Any], bool] = _is_dotted
    needs: Callable[[str, Any], Iterable[tuple[str, str]]] = lambda *_: ()
    translate: Callable[[Any, int], tuple[Any, list[str]]] = lambda definition, _: (definition, [])
    consequences: Callable[[str, Any, OpenSearch, OpenSearch], list[str]] = lambda *_: []
    ask: Callable[..., Any] = _ask
    owner: Owner = "cluster"
    is_optional: bool = True
    is_of_plugin: bool = False
    is_selected: Callable[[str, DomainJob], bool] = lambda *_: True
    rest: Callable[[Any, str], dict[str, Any]] = lambda *_: {}
    when_moved: bool = False
    is_foreseen: bool = True

    def read_all(self, owner: Client) -> Definitions:
        """All of the owner, but for its own and its plugins'."""
        try:
            found = self.definitions(self.ask(owner, "GET", self.all))
        except (NotFound, RequestRefused) as error:
            # Where there is none, or no such kind in this engine.
            if not self.is_optional or (self.is_of_plugin and isinstance(error, RequestRefused)):
                raise
            return {}
        return {
            name: definition
            for name, definition in found.items()
            if not self.is_internal(name, definition)
        }

    def read(self, owner: Client, name: str) -> Any:
        """The definition of one; None where there is none."""
        try:
            answer = self.ask(owner, "GET", self._path(name))
        except NotFound:
            return None
        return self.definitions(answer).get(name)

    def create(self, owner: Client, name: str, definition: Any) -> None:
        """Writes one that isn't there."""
        self.ask(owner, "PUT", self._path(name), self.body(name, definition))

    def remove(self, owner: Client, name: str) -> None:
        """Removes one, if it is there."""
        body = self.body(name, None) if self.removal == "PUT" else None
        with suppress(NotFound):
            self.ask(owner, self.removal, self._path(name), body)

    def _path(self, name: str) -> str:
        return self.path.format(name=quote(name, safe=""))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings with their whole names: only some of the APIs can give them so."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _with_flat_settings(template: dict[str, Any]) -> dict[str, Any]:
    return template | ({"settings": _flat(template["settings"])} if "settings" in template else {})


def _legacy_templates(answer: Any) -> Definitions:
    return {name: _with_flat_settings(template) for name, template in answer.items()}


def _templates(name: str) -> Callable[[Any], Definitions]:
    """Finds templates of the newer kinds; `name` is what their API calls one."""

    def find(answer: Any) -> Definitions:
        return {
            item["name"]: item[name]
            | (
                {"template": _with_flat_settings(item[name]["template"])}
                if "template" in item[name]
                else {}
            )
            for item in answer[f"{name}s"]
        }

    return find


def _is_internal_template(name: str, definition: Any) -> bool:
    index_patterns = definition.get("index_patterns", [])
    return (
        name.startswith(".")
        or name in _PLUGIN_TEMPLATES
        or bool(definition.get("_meta", {}).get("managed"))
        or (bool(index_patterns) and all(each.startswith(".") for each in index_patterns))
    )


def _components(_: str, definition: Any) -> Iterator[tuple[str, str]]:
    for name in definition.get("composed_of", []):
        yield "component template", name


def _ask_for_streams(cluster: OpenSearch, method: str, path: str, body: Any = None) -> Any:
    answer = _ask(cluster, method, path, body)
    if method == "GET" and "/" in path:
        [stream] = answer["data_streams"]
        # One that was written to is another one: no roll-back removes it.
        stream["documents"] = cluster.count(index=stream["name"])["count"]
    return answer


def _translate_template(template: Any, major: int) -> tuple[Any, list[str]]:
    """One of the newer kinds, in which what a template makes stands apart."""
    translated = with_timestamp_field(template)
    if "template" not in template:
        return translated, []
    inner, notes = translate_template(template["template"], major)
    return translated | {"template": inner}, notes


def _precedence(_: str, template: Any, source: OpenSearch, destination: OpenSearch) -> list[str]:
    """Index templates win over legacy ones; those that the source doesn't have are named."""
    [index_templates] = [kind for kind in KINDS if kind.name == "index template"]
    at_source = index_templates.read_all(source)
    winning = [
        name
        for name, other in index_templates.read_all(destination).items()
        if name not in at_source
        and any(
            patterns.matches(one, two) or patterns.matches(two, one)
            for one in template["index_patterns"]
            for two in other["index_patterns"]
        )
    ]
    if not winning:
        return []
    return [f"indices that match the index template {some(winning)} go by that one alone"]


def _data_streams(answer: Any) -> Definitions:
    return {
        stream["name"]: {"template": stream["template"]}
        | ({"documents": stream["documents"]} if stream.get("documents") else {})
        for stream in answer["data_streams"]
    }


def _ask_ism(cluster: OpenSearch, method: str, path: str, body: Any = None) -> Any:
    path, _, query = path.partition("?")
    return plugins.ask_index_management(cluster, method, path, body, dict(parse_qsl(query)))


def _index_policies(answer: Any) -> Definitions:
    found = answer.get("policies", [answer])
    return {policy["_id"]: _without_notes(policy["policy"]) for policy in found}


def _without_notes(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_notes(part) for part in value]
    if isinstance(value, dict):
        return {
            name: _without_notes(part) for name, part in value.items() if name not in _POLICY_NOTES
        }
    return value


def _ask_for_attachments(cluster: OpenSearch, method: str, index: str, body: Any = None) -> Any:
    verb, action = {"GET": ("GET", "explain"), "PUT": ("POST", "add")}.get(
        method, ("POST", "remove")
    )
    answer = _ask_ism(cluster, verb, f"{action}/{index}", body)
    if answer.get("failures"):
        reasons = "; ".join(failed["reason"] for failed in answer["failed_indices"])
        raise RequestRefused(f"Index State Management refuses to {action} a policy: {reasons}")
    return answer


def _attachments(answer: Any) -> Definitions:
    """The policies of indices, by the one or the other name that explanations have for them."""
    return {
        name: {"policy_id": policy}
        for name, state in answer.items()
        if isinstance(state, dict)
        and (policy := next(filter(None, map(state.get, _POLICY_OF_INDEX)), None))
    }


def _stored_scripts(answer: Any) -> Definitions:
    """No API lists them; the state of the cluster holds them."""
    if "_id" in answer:
        return {answer["_id"]: answer["script"]}
    scripts: Definitions = answer.get("metadata", {}).get("stored_scripts", {})
    return scripts


def _cluster_settings(answer: Any) -> Definitions:
    # A transient value counts before a persistent one.
    present = answer["persistent"] | answer["transient"]
    return {
        plain: value
        for name, value in present.items()
        if (plain := name.replace("opendistro.", "plugins.", 1)) in _KEPT_SETTINGS
    }


def _of_plugin(answer: Any) -> Definitions:
    """Resources of the security plugin, without what is its own, and what it says about them."""
    return {
        name: security.normalised(security.without_flags(definition))
        for name, definition in answer.items()
        if not any(definition.get(flag) for flag in security.FLAGS)
    }


def _is_internal_role(name: str, _: Any) -> bool:
    # The mapping of the last one is changed by the migration itself.
    return name.startswith(OWN_PREFIX) or name == security.MANAGE_SNAPSHOTS


def _action_groups(_: str, definition: Any) -> Iterator[tuple[str, str]]:
    permissions = [definition, *definition.get("index_permissions", [])]
    for permission in permissions:
        for key in ("cluster_permissions", "allowed_actions"):
            for name in permission.get(key, []):
                yield "action group", name


def _is_of_wanted_index(name: str, job: DomainJob) -> bool:
    return indices.is_wanted(name, job.domain.indices)


def _saved_object(saved_type: str) -> Kind:
    return Kind(
        saved_objects.kind_name(saved_type),
        "saved_objects",
        path=f"{saved_type}/{{name}}",
        all=saved_type,
        body=lambda _, definition: definition["object"],
        needs=saved_objects.needs,
        translate=saved_objects.with_title,
        ask=saved_objects.ask,
        owner="dashboards",
        is_optional=False,
        is_selected=saved_objects.is_selected,
        rest=lambda dashboards, name: {
            "object": saved_objects.export(dashboards, saved_type, name)
        },
    )


# In the order in which they are written: what others refer to comes first.
KINDS: tuple[Kind, ...] = (
    Kind(
        "stored script",
        "scripts",
        path="_scripts/{name}",
        all="_cluster/state/metadata?filter_path=metadata.stored_scripts",
        definitions=_stored_scripts,
        body=lambda _, definition: {"script": definition},
    ),
    Kind("ingest pipeline", "pipelines", path="_ingest/pipeline/{name}", all="_ingest/pipeline"),
    Kind("search pipeline", "pipelines", path="_search/pipeline/{name}", all="_search/pipeline"),
    Kind(
        "index policy",
        "index_policies",
        path="policies/{name}",
        all="policies?size=1000",
        definitions=_index_policies,
        body=lambda _, definition: {"policy": definition},
        ask=_ask_ism,
        is_of_plugin=True,
        # Its template may match indices that are restored later.
        when_moved=True,
    ),
    Kind(
        "index policy attachment",
        "index_policies",
        path="{name}",
        all="*",
        definitions=_attachments,
        ask=_ask_for_attachments,
        needs=lambda _, definition: [("index policy", definition["policy_id"])],
        is_selected=_is_of_wanted_index,
        when_moved=True,
        is_foreseen=False,
    ),
    Kind(
        "component template",
        "templates",
        path="_component_template/{name}",
        all="_component_template",
        definitions=_templates("component_template"),
        is_internal=_is_internal_template,
        translate=_translate_template,
    ),
    Kind(
        "legacy template",
        "templates",
        path="_template/{name}",
        all="_template",
        definitions=_legacy_templates,
        is_internal=_is_internal_template,
        translate=translate_template,
        consequences=_precedence,
    ),
    Kind(
        "index template",
        "templates",
        path="_index_template/{name}",
        all="_index_template",
        definitions=_templates("index_template"),
        is_internal=_is_internal_template,
        translate=_translate_template,
        needs=_components,
    ),
    Kind(
        "data stream",
        "data_streams",
        path="_data_stream/{name}",
        all="_data_stream",
        definitions=_data_streams,
        ask=_ask_for_streams,
        body=lambda *_: None,
        translate=lambda definition, _: (definition, [_EMPTY]),
        needs=lambda _, definition: [("index template", definition["template"])],
        is_selected=_is_of_wanted_index,
    ),
    Kind(
        "cluster setting",
        "cluster_settings",
        path="_cluster/settings?flat_settings=true",
        all="_cluster/settings?flat_settings=true",
        definitions=_cluster_settings,
        body=lambda name, value: {"persistent": {name: value}},
        removal="PUT",
    ),
    Kind(
        "action group",
        "security",
        path="actiongroups/{name}",
        all="actiongroups",
        definitions=_of_plugin,
        ask=security.ask,
        owner="administrator",
        needs=_action_groups,
    ),
    Kind(
        "tenant",
        "security",
        path="tenants/{name}",
        all="tenants",
        definitions=_of_plugin,
        ask=security.ask,
        owner="administrator",
    ),
    Kind(
        "role",
        "security",
        path="roles/{name}",
        all="roles",
        definitions=_of_plugin,
        is_internal=_is_internal_role,
        ask=security.ask,
        owner="administrator",
        needs=_action_groups,
    ),
    Kind(
        INTERNAL_USER,
        "security",
        path="internalusers/{name}",
        all="internalusers",
        definitions=_of_plugin,
        ask=security.ask,
        owner="administrator",
    ),
    Kind(
        "role mapping",
        "security",
        path="rolesmapping/{name}",
        all="rolesmapping",
        definitions=_of_plugin,
        is_internal=_is_internal_role,
        ask=security.ask,
        owner="administrator",
        needs=lambda name, _: [("role", name)],
    ),
    *map(_saved_object, saved_objects.TYPES),
)
