"""What fronts have in common: they pass requests on to a node, and its answers back."""

from collections.abc import Mapping

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

_HOP_BY_HOP_HEADERS = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


def end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Return the headers that aren't meant for the next neighbour only."""
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP_HEADERS
    )


async def pass_on(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Pass a node's answer on, piece by piece."""
    response = web.StreamResponse(
        status=answer.status, reason=answer.reason, headers=end_to_end(answer.headers)
    )
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response
