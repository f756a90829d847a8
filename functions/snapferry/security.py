"""Rights on a cluster: which are missing, and a role of the migration's own that grants them.

Where a cluster has no security plugin, no right is missing and nothing is granted.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from snapferry import plugins
from snapferry.errors import UNKNOWN_DENIAL, AccessDenied, NotFound, RequestRefused
from snapferry.journal import Changeable, Journal, Place, destination_side, side_of
from snapferry.request import DomainJob

# Of OpenSearch's plugin, and of Open Distro's, which is Elasticsearch's.
_APIS = ("/_plugins/_security/api", "/_opendistro/_security/api")
FLAGS = ("hidden", "reserved", "static")
_ROLE = "role"
_MAPPING = "role_mapping"
MANAGE_SNAPSHOTS = "manage_snapshots"
"""A role of the plugin's own; Amazon's documentation wants it for who registers a repository."""
# How long the nodes may take until they go by a new role.
_LONGEST_WAIT_SECONDS = 20
_LOOK_EVERY_SECONDS = 1


@dataclass(frozen=True)
class Role:
    """A role, as a value that changes: its definition, without what is empty in it.

    Attributes:
        cluster: a client of who may change its security.
        name: the role's name.
    """

    cluster: OpenSearch
    name: str

    def read(self) -> Any:
        """The definition; lists of names are sorted."""
        definition = _get(self.cluster, f"roles/{self.name}")
        return None if definition is None else normalised(definition)

    def write(self, value: Any) -> None:
        """Creates or replaces the role, or removes it."""
        _set(self.cluster, f"roles/{self.name}", value)


@dataclass(frozen=True)
class MappingEntry:
    """An entry of a role's mapping, as a value that changes.

    Attributes:
        cluster: a client of who may change its security.
        key: `<role>/backend_roles/<name>` or `<role>/users/<name>`.
    """

    cluster: OpenSearch
    key: str

    def read(self) -> Any:
        """Whether it is there; None where the role has no mapping at all."""
        role, kind, name = self.key.split("/", 2)
        mapping = _get(self.cluster, f"rolesmapping/{role}")
        return None if mapping is None else name in mapping.get(kind, [])

    def write(self, value: Any) -> None:
        """Adds or removes it; None also removes a mapping in which there is nothing else."""
        role, kind, name = self.key.split("/", 2)
        mapping = _get(self.cluster, f"rolesmapping/{role}") or {}
        others = [other for other in mapping.get(kind, []) if other != name]
        mapping[kind] = [*others, name] if value else others
        kept = value is not None or any(mapping.values())
        _set(self.cluster, f"rolesmapping/{role}", mapping if kept else None)


# For clients of a side's administrator.
CHANGEABLES: Mapping[str, Callable[[OpenSearch, str], Changeable]] = {
    _ROLE: Role,
    _MAPPING: MappingEntry,
}


@dataclass(frozen=True)
class Right:
    """Permissions that a migration needs, and a request that shows whether they are there.

    The plugin looks at the permissions before the cluster looks at the request, which therefore
    names what doesn't exist or can't. What can't be asked for without effect stands beside what
    goes with it wherever people grant it.

    Attributes:
        method: of the request.
        path: of the request.
        body: of the request.
        cluster: permissions on the cluster.
        indices: permissions on all indices.
    """

    method: str
    path: str
    body: Any = None
    cluster: tuple[str, ...] = ()
    indices: tuple[str, ...] = ()


_REPOSITORY = "/_snapshot/snapferry-none"
_SNAPSHOT = "/_snapshot/snapferry-none/none"
# No index can have this name, so none comes into being and none goes.
_INDEX = "/Snapferry"

_ON_BOTH_SIDES = (
    Right("GET", "/", cluster=("cluster:monitor/*",)),
    Right("GET", "/_cluster/health", cluster=("cluster:monitor/*",)),
    Right("GET", "/_cluster/state/version", cluster=("cluster:monitor/*",)),
    Right("GET", "/_cluster/pending_tasks", cluster=("cluster:monitor/*",)),
    Right(
        "PUT",
        "/_cluster/settings",
        # Amazon lets settings of plugins pass.
        {"transient": {"plugins.snapferry.none": None}},
        cluster=("cluster:admin/settings/update",),
    ),
    Right("GET", _REPOSITORY, cluster=("cluster:admin/repository/get",)),
    Right(
        "POST",
        f"{_REPOSITORY}/_verify",
        cluster=("cluster:admin/repository/put", "cluster:admin/repository/verify"),
    ),
    Right("DELETE", _REPOSITORY, cluster=("cluster:admin/repository/delete",)),
    Right("GET", f"{_INDEX}/_settings", indices=("indices:monitor/*",)),
    Right("GET", f"{_INDEX}/_stats", indices=("indices:monitor/*",)),
    Right("GET", f"{_INDEX}/_recovery", indices=("indices:monitor/*",)),
    Right("GET", _INDEX, indices=("indices:admin/get",)),
    Right("GET", f"{_INDEX}/_alias", indices=("indices:admin/aliases/get",)),
    Right("GET", f"{_INDEX}/_mapping", indices=("indices:admin/mappings/get",)),
    Right("POST", f"{_INDEX}/_refresh", indices=("indices:admin/refresh*",)),
    Right("POST", f"{_INDEX}/_flush", indices=("indices:admin/flush*",)),
    Right("POST", f"{_INDEX}/_search", indices=("indices:data/read/*",)),
    Right("POST", f"{_INDEX}/_mget", {"ids": ["1"]}, cluster=("indices:data/read/*",)),
    Right(
        "PUT",
        f"{_INDEX}/_settings",
        {"index.blocks.write": True},
        indices=("indices:admin/settings/update",),
    ),
    Right("GET", "/_template/snapferry-none", cluster=("indices:admin/template/get",)),
    Right("GET", "/_index_template/snapferry-none", cluster=("indices:admin/index_template/get",)),
    Right(
        "GET",
        "/_component_template/snapferry-none",
        cluster=("cluster:admin/component_template/get",),
    ),
    Right(
        "GET", "/_ingest/pipeline/snapferry-none", cluster=("cluster:admin/ingest/pipeline/get",)
    ),
    Right(
        "GET", "/_search/pipeline/snapferry-none", cluster=("cluster:admin/search/pipeline/get",)
    ),
    Right("GET", "/_scripts/snapferry-none", cluster=("cluster:admin/script/get",)),
    Right(
        "GET",
        "/_plugins/_ism/policies/snapferry-none",
        cluster=(
            "cluster:admin/opendistro/ism/managedindex/explain",
            "cluster:admin/opendistro/ism/policy/get",
            "cluster:admin/opendistro/ism/policy/search",
        ),
        indices=("indices:admin/opensearch/ism/managedindex",),
    ),
    Right("GET", "/_data_stream/snapferry-none", indices=("indices:admin/data_stream/get",)),
)

_AT_SOURCE = (
    *_ON_BOTH_SIDES,
    Right(
        "GET",
        f"/_plugins/_ism/explain{_INDEX}",
        cluster=("cluster:admin/opendistro/ism/managedindex/explain",),
        indices=("indices:admin/opensearch/ism/managedindex",),
    ),
    Right("GET", _SNAPSHOT, cluster=("cluster:admin/snapshot/get",)),
    Right("GET", f"{_SNAPSHOT}/_status", cluster=("cluster:admin/snapshot/status*",)),
    Right("PUT", _SNAPSHOT, cluster=("cluster:admin/snapshot/create",)),
    Right("DELETE", _SNAPSHOT, cluster=("cluster:admin/snapshot/delete",)),
    Right("PUT", f"{_INDEX}/_block/write", indices=("indices:admin/block/add*",)),
)

_AT_DESTINATION = (
    *_ON_BOTH_SIDES,
    Right(
        "GET",
        _SNAPSHOT,
        cluster=("cluster:admin/snapshot/get", "cluster:admin/snapshot/restore"),
    ),
    Right("GET", f"{_SNAPSHOT}/_status", cluster=("cluster:admin/snapshot/status*",)),
    Right(
        "POST",
        "/_cluster/allocation/explain",
        {"index": "Snapferry", "shard": 0, "primary": True},
        cluster=("cluster:monitor/*",),
    ),
    Right("PUT", _INDEX, indices=("indices:admin/create",)),
    Right("POST", f"{_INDEX}/_close", indices=("indices:admin/close*",)),
    Right("POST", f"{_INDEX}/_open", indices=("indices:admin/open",)),
    Right("DELETE", _INDEX, indices=("indices:admin/delete",)),
    Right("PUT", f"{_INDEX}/_mapping", {"properties": {}}, indices=("indices:admin/mapping/put",)),
    Right(
        "POST",
        "/_aliases",
        {"actions": [{"add": {"index": "Snapferry", "alias": "snapferry"}}]},
        indices=("indices:admin/aliases",),
    ),
    Right("PUT", f"{_INDEX}/_doc/1", {}, indices=("indices:data/write/index",)),
    Right("DELETE", f"{_INDEX}/_doc/1", indices=("indices:data/write/delete",)),
    Right(
        "POST",
        "/_bulk",
        '{"delete":{"_index":"Snapferry","_id":"1"}}\n',
        cluster=("indices:data/write/bulk",),
        indices=("indices:data/write/bulk*",),
    ),
    Right(
        "DELETE",
        "/_template/snapferry-none",
        cluster=("indices:admin/template/put", "indices:admin/template/delete"),
    ),
    Right(
        "DELETE",
        "/_index_template/snapferry-none",
        cluster=("indices:admin/index_template/put", "indices:admin/index_template/delete"),
    ),
    Right(
        "DELETE",
        "/_component_template/snapferry-none",
        cluster=("cluster:admin/component_template/put", "cluster:admin/component_template/delete"),
    ),
    Right(
        "DELETE",
        "/_ingest/pipeline/snapferry-none",
        cluster=("cluster:admin/ingest/pipeline/put", "cluster:admin/ingest/pipeline/delete"),
    ),
    Right(
        "DELETE",
        "/_search/pipeline/snapferry-none",
        cluster=("cluster:admin/search/pipeline/put", "cluster:admin/search/pipeline/delete"),
    ),
    Right(
        "DELETE",
        "/_scripts/snapferry-none",
        cluster=("cluster:admin/script/put", "cluster:admin/script/delete"),
    ),
    Right(
        "DELETE",
        "/_plugins/_ism/policies/snapferry-none",
        cluster=(
            "cluster:admin/opendistro/ism/managedindex/add",
            "cluster:admin/opendistro/ism/managedindex/remove",
            "cluster:admin/opendistro/ism/policy/delete",
            "cluster:admin/opendistro/ism/policy/write",
        ),
    ),
    Right(
        "DELETE",
        "/_data_stream/snapferry-none",
        indices=("indices:admin/data_stream/create", "indices:admin/data_stream/delete"),
    ),
)


def grant_at_source(
    journal: Journal,
    source: OpenSearch,
    administrator: OpenSearch,
    job: DomainJob,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Grants the domain's access role, as a backend role, the rights that it lacks.

    Nothing is changed where nothing is missing. Otherwise the migration gets a role of its own
    with all its rights, also those that are there, so that they are its own until it ends and go
    with one mapping.

    Args:
        journal: of the migration.
        source: the domain.
        administrator: the domain, as who may change its security.
        job: whose rights.
        sleep: waits between looks, until the new rights are there.

    Returns:
        How many permissions were missing.

    Raises:
        AccessDenied: naming all permissions that are missing, where they can't be granted.
    """
    grantee = _grantee_at_source(job)
    return _grant(journal, source, administrator, job.role, grantee, _AT_SOURCE, sleep)


def grant_at_destination(
    journal: Journal,
    destination: OpenSearch,
    administrator: OpenSearch,
    job: DomainJob,
    caller: str,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Grants the destination's caller the rights that it lacks, as `grant_at_source` does.

    The role and its mapping are those of the whole migration, whichever domain is the first.

    Args:
        journal: of the migration.
        destination: the cluster that takes the indices.
        administrator: the same, as who may change its security.
        job: whose rights.
        caller: the name of the user; of a domain the ARN of its access role.
        sleep: waits between looks, until the new rights are there.

    Returns:
        How many permissions were missing.

    Raises:
        AccessDenied: naming all permissions that are missing, where they can't be granted.
    """
    grantee = _grantee_at_destination(job, caller)
    return _grant(journal, destination, administrator, job.role, grantee, _AT_DESTINATION, sleep)


def foresee_at_source(source: OpenSearch, administrator: OpenSearch, job: DomainJob) -> list[Place]:
    """What `grant_at_source` will change; nothing where no right is missing.

    Raises:
        AccessDenied: naming all permissions that are missing, where the administrator can't even
            look at roles, and so won't grant them.
    """
    return _foresee(source, administrator, job.role, _grantee_at_source(job), _AT_SOURCE)


def foresee_at_destination(
    destination: OpenSearch, administrator: OpenSearch, job: DomainJob, caller: str
) -> list[Place]:
    """What `grant_at_destination` will change, as `foresee_at_source` says it."""
    grantee = _grantee_at_destination(job, caller)
    return _foresee(destination, administrator, job.role, grantee, _AT_DESTINATION)


@dataclass(frozen=True)
class _Grantee:
    """Who gets rights.

    Attributes:
        side: on which.
        cluster: its address.
        entry: in a role's mapping.
        field: of the input, which names who may grant them.
    """

    side: str
    cluster: str
    entry: str
    field: str


def _grantee_at_source(job: DomainJob) -> _Grantee:
    entry = f"backend_roles/{job.domain.access_role_arn}"
    return _Grantee(side_of(job.domain.name), job.domain.host, entry, "domains[].master_user")


def _grantee_at_destination(job: DomainJob, caller: str) -> _Grantee:
    entry = f"{'backend_roles' if job.destination.is_domain else 'users'}/{caller}"
    endpoint = job.destination.endpoint
    return _Grantee(destination_side(endpoint), endpoint, entry, "destination.master_user")


def _foresee(
    caller: OpenSearch,
    administrator: OpenSearch,
    role: str,
    grantee: _Grantee,
    rights: Sequence[Right],
) -> list[Place]:
    missing = _missing(caller, rights)
    if not missing:
        return []
    try:
        _get(administrator, f"roles/{role}")
    except (AccessDenied, NotFound, RequestRefused) as error:
        raise AccessDenied(_refusal(grantee, missing, f"They can't be granted: {error}")) from error
    return [
        Place(grantee.side, _ROLE, role),
        *(
            Place(grantee.side, _MAPPING, f"{name}/{grantee.entry}")
            for name in (role, MANAGE_SNAPSHOTS)
        ),
    ]


def _grant(
    journal: Journal,
    caller: OpenSearch,
    administrator: OpenSearch,
    role: str,
    grantee: _Grantee,
    rights: Sequence[Right],
    sleep: Callable[[float], None],
) -> int:
    missing = _missing(caller, rights)
    if not missing:
        return 0

    def map_role(name: str) -> None:
        key = f"{name}/{grantee.entry}"
        journal.change(
            Place(grantee.side, _MAPPING, key), MappingEntry(administrator, key), value=True
        )

    try:
        journal.change(
            Place(grantee.side, _ROLE, role), Role(administrator, role), _definition(rights)
        )
        map_role(role)
    except (AccessDenied, NotFound, RequestRefused) as error:
        raise AccessDenied(_refusal(grantee, missing, f"They can't be granted: {error}")) from error
    # Where only the service may map it, the role of the migration has its permissions, too.
    with suppress(AccessDenied, NotFound, RequestRefused):
        map_role(MANAGE_SNAPSHOTS)
    for _ in range(_LONGEST_WAIT_SECONDS // _LOOK_EVERY_SECONDS):
        still_missing = _missing(caller, missing)
        if not still_missing:
            return len(set(_permissions(missing)))
        sleep(_LOOK_EVERY_SECONDS)
    raise AccessDenied(
        _refusal(grantee, still_missing, f"The role {role} was mapped, but it has no effect.")
    )


def _missing(caller: OpenSearch, rights: Iterable[Right]) -> list[Right]:
    return [right for right in rights if not _has(caller, right)]


def _has(caller: OpenSearch, right: Right) -> bool:
    try:
        caller.transport.perform_request(right.method, right.path, body=right.body)
    except AccessDenied as error:
        if "no permissions for" in str(error):
            return False
        # Any other denial isn't the plugin's.
        if not _is_of_operation(error):
            raise
        return True
    except (NotFound, RequestRefused):
        return True
    return True


def _is_of_operation(denial: AccessDenied) -> bool:
    """Whether Amazon's front refuses the operation in words of its own.

    Then the plugin hasn't been asked. What the front says of callers and their roles is known.
    """
    answer = getattr(denial.__cause__, "info", None)
    is_of_front = isinstance(answer, dict) and answer.keys() == {"Message"}
    return is_of_front and UNKNOWN_DENIAL in str(denial)


def _permissions(rights: Iterable[Right]) -> list[str]:
    return [permission for right in rights for permission in (*right.cluster, *right.indices)]


def _definition(rights: Iterable[Right]) -> dict[str, Any]:
    """The role that grants rights."""
    rights = list(rights)
    return {
        "cluster_permissions": sorted({name for right in rights for name in right.cluster}),
        "index_permissions": [
            {
                "index_patterns": ["*"],
                "allowed_actions": sorted({name for right in rights for name in right.indices}),
            }
        ],
    }


def _refusal(grantee: _Grantee, missing: Sequence[Right], reason: str) -> str:
    _, _, name = grantee.entry.partition("/")
    definition = _definition(missing)
    on_cluster = ", ".join(definition["cluster_permissions"]) or "none"
    on_indices = ", ".join(definition["index_permissions"][0]["allowed_actions"]) or "none"
    return (
        f"{grantee.cluster}: {name} lacks permissions. Cluster permissions: {on_cluster}. Index "
        f"permissions on *: {on_indices}. {reason} What to do: name in {grantee.field} who may "
        f"change the security of the cluster (on a domain without an internal user database by "
        f"its role_arn), or map {name} to a role with these permissions by hand."
    )


def _get(cluster: OpenSearch, resource: str) -> dict[str, Any] | None:
    """A resource of the plugin, without what the plugin says about it; None where there is none."""
    try:
        answer = ask(cluster, "GET", resource)
    except NotFound:
        return None
    [definition] = answer.values()
    return without_flags(definition)


def without_flags(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A resource of the plugin without what the plugin says about it, and doesn't take back."""
    return {name: value for name, value in definition.items() if name not in FLAGS}


def _set(cluster: OpenSearch, resource: str, value: Any) -> None:
    if value is not None:
        ask(cluster, "PUT", resource, value)
        return
    with suppress(NotFound):
        ask(cluster, "DELETE", resource)


def ask(cluster: OpenSearch, method: str, resource: str, body: Any = None) -> Any:
    """Asks the REST API of the security plugin, by whichever path it has.

    Source: https://docs.opensearch.org/latest/security/access-control/api/

    Raises:
        NotFound: there is no such resource, or no security plugin.
    """
    return plugins.ask(cluster, _APIS, method, resource, body)


def normalised(value: Any) -> Any:
    """A definition without what is empty in it, and with lists of names sorted."""
    if isinstance(value, dict):
        plain = {name: normalised(part) for name, part in value.items()}
        return {name: part for name, part in plain.items() if part not in (None, "", [], {})}
    if isinstance(value, list):
        parts = [normalised(part) for part in value]
        return sorted(parts) if all(isinstance(part, str) for part in parts) else parts
    return value
