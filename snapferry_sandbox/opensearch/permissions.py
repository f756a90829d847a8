"""Which permissions of the security plugin a request needs; measured on OpenSearch 3.6."""

import re

# The first that matches: method and path, then the permissions on the cluster, then on the index.
_NEEDS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (r"GET /", ("cluster:monitor/main",), ()),
    (r"GET /_cat/indices.*", ("cluster:monitor/state",), ("indices:monitor/stats",)),
    (r"GET /_cat/.*", ("cluster:monitor/*",), ("indices:monitor/*",)),
    (r"GET /_cluster/health.*", ("cluster:monitor/health",), ()),
    (r"GET /_cluster/state/.*", ("cluster:monitor/state",), ()),
    (r"GET /_cluster/pending_tasks", ("cluster:monitor/task",), ()),
    (r"GET /_cluster/settings", ("cluster:monitor/state",), ()),
    (r"PUT /_cluster/settings", ("cluster:admin/settings/update",), ()),
    (r"POST /_cluster/allocation/explain", ("cluster:monitor/allocation/explain",), ()),
    (r"GET /_tasks", ("cluster:monitor/tasks/lists",), ()),
    (r"GET /_snapshot(/[^/]+)?", ("cluster:admin/repository/get",), ()),
    (r"PUT /_snapshot/[^/]+", ("cluster:admin/repository/put",), ()),
    (r"DELETE /_snapshot/[^/]+", ("cluster:admin/repository/delete",), ()),
    (r"POST /_snapshot/[^/]+/_verify", ("cluster:admin/repository/verify",), ()),
    (r"GET /_snapshot/[^/]+/[^/]+", ("cluster:admin/snapshot/get",), ()),
    (r"PUT /_snapshot/[^/]+/[^/]+", ("cluster:admin/snapshot/create",), ()),
    (r"DELETE /_snapshot/[^/]+/[^/]+", ("cluster:admin/snapshot/delete",), ()),
    (r"GET /_snapshot/[^/]+/[^/]+/_status", ("cluster:admin/snapshot/status",), ()),
    (
        r"POST /_snapshot/[^/]+/[^/]+/_restore",
        ("cluster:admin/snapshot/restore",),
        ("indices:admin/create", "indices:data/write/index"),
    ),
    (r"GET /_template(/[^/]+)?", ("indices:admin/template/get",), ()),
    (r"PUT /_template(/[^/]+)?", ("indices:admin/template/put",), ()),
    (r"DELETE /_template(/[^/]+)?", ("indices:admin/template/delete",), ()),
    (r"GET /_index_template(/[^/]+)?", ("indices:admin/index_template/get",), ()),
    (r"PUT /_index_template(/[^/]+)?", ("indices:admin/index_template/put",), ()),
    (r"DELETE /_index_template(/[^/]+)?", ("indices:admin/index_template/delete",), ()),
    (r"GET /_component_template(/[^/]+)?", ("cluster:admin/component_template/get",), ()),
    (r"PUT /_component_template(/[^/]+)?", ("cluster:admin/component_template/put",), ()),
    (r"DELETE /_component_template(/[^/]+)?", ("cluster:admin/component_template/delete",), ()),
    (r"GET /_ingest/pipeline(/[^/]+)?", ("cluster:admin/ingest/pipeline/get",), ()),
    (r"PUT /_ingest/pipeline(/[^/]+)?", ("cluster:admin/ingest/pipeline/put",), ()),
    (r"DELETE /_ingest/pipeline(/[^/]+)?", ("cluster:admin/ingest/pipeline/delete",), ()),
    (r"GET /_search/pipeline(/[^/]+)?", ("cluster:admin/search/pipeline/get",), ()),
    (r"PUT /_search/pipeline(/[^/]+)?", ("cluster:admin/search/pipeline/put",), ()),
    (r"DELETE /_search/pipeline(/[^/]+)?", ("cluster:admin/search/pipeline/delete",), ()),
    (r"GET /_scripts(/[^/]+)?", ("cluster:admin/script/get",), ()),
    (r"PUT /_scripts(/[^/]+)?", ("cluster:admin/script/put",), ()),
    (r"DELETE /_scripts(/[^/]+)?", ("cluster:admin/script/delete",), ()),
    (r"GET /_data_stream(/[^/]+)?", (), ("indices:admin/data_stream/get",)),
    (r"PUT /_data_stream(/[^/]+)?", (), ("indices:admin/data_stream/create",)),
    (r"DELETE /_data_stream(/[^/]+)?", (), ("indices:admin/data_stream/delete",)),
    (
        r"GET /_(?:plugins|opendistro)/_ism/explain/[^/]+",
        ("cluster:admin/opendistro/ism/managedindex/explain",),
        ("indices:admin/opensearch/ism/managedindex",),
    ),
    (
        r"POST /_(?:plugins|opendistro)/_ism/add/[^/]+",
        ("cluster:admin/opendistro/ism/managedindex/add",),
        ("indices:admin/opensearch/ism/managedindex",),
    ),
    (
        r"POST /_(?:plugins|opendistro)/_ism/remove/[^/]+",
        ("cluster:admin/opendistro/ism/managedindex/remove",),
        ("indices:admin/opensearch/ism/managedindex",),
    ),
    (
        r"GET /_(?:plugins|opendistro)/_ism/[^/]+(/[^/]+)?",
        ("cluster:admin/opendistro/ism/policy/get",),
        (),
    ),
    (
        r"DELETE /_(?:plugins|opendistro)/_ism/policies/[^/]+",
        ("cluster:admin/opendistro/ism/policy/delete",),
        (),
    ),
    (r"POST (/[^/]+)?/_bulk", ("indices:data/write/bulk",), ()),
    (r"POST /[^/]+/_mget", ("indices:data/read/mget",), ()),
    (r"POST /[^/]+/_msearch", ("indices:data/read/msearch",), ()),
    (r"POST /_aliases", (), ("indices:admin/aliases",)),
    (r"GET /[^/]+/_settings", (), ("indices:monitor/settings/get",)),
    (r"PUT /[^/]+/_settings", (), ("indices:admin/settings/update",)),
    (r"GET /[^/]+/_stats.*", (), ("indices:monitor/stats",)),
    (r"GET /[^/]+/_recovery", (), ("indices:monitor/recovery",)),
    (r"GET (/[^/]+)?/_alias", (), ("indices:admin/aliases/get",)),
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
    (r"GET /[^/_][^/]*", (), ("indices:admin/get",)),
    (r"PUT /[^/_][^/]*", (), ("indices:admin/create",)),
    (r"DELETE /[^/_][^/]*", (), ("indices:admin/delete",)),
)


def needed(method: str, path: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the permissions on the cluster and on the index that a request needs.

    Args:
        method: of the request.
        path: of the request, without parameters.

    Returns:
        None for a request that the list doesn't have.
    """
    line = f"{'GET' if method == 'HEAD' else method} {path}"
    for pattern, on_cluster, on_indices in _NEEDS:
        if re.fullmatch(pattern, line):
            return on_cluster, on_indices
    return None
