"""The REST APIs of plugins, which OpenSearch has by one path and Open Distro by another."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from snapferry.errors import NotFound, RequestRefused

_INDEX_MANAGEMENT = ("/_plugins/_ism", "/_opendistro/_ism")
_UNKNOWN_API = r"no handler found for uri|is not allowed"


def ask(
    cluster: OpenSearch,
    apis: Sequence[str],
    method: str,
    resource: str,
    body: Any = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """Asks a plugin, by whichever path it has.

    Args:
        cluster: whose plugin.
        apis: the paths that its API may have.
        method: of the request.
        resource: the rest of the path.
        body: of the request.
        params: of the request.
        headers: of the request.

    Raises:
        NotFound: there is no such resource, or no such plugin.
    """
    refusals: list[str] = []
    for api in apis:
        try:
            return cluster.transport.perform_request(
                method, f"{api}/{resource}", params=params, body=body, headers=headers
            )
        except (NotFound, RequestRefused) as error:
            if isinstance(error, RequestRefused) and not re.search(_UNKNOWN_API, str(error)):
                raise
            refusals.append(str(error))
    raise NotFound(refusals[0])


def ask_index_management(
    cluster: OpenSearch,
    method: str,
    resource: str,
    body: Any = None,
    params: Mapping[str, str] | None = None,
) -> Any:
    """Asks the REST API of Index State Management, as `ask` does.

    Source: https://docs.opensearch.org/latest/im-plugin/ism/api/
    """
    return ask(cluster, _INDEX_MANAGEMENT, method, resource, body, params)
