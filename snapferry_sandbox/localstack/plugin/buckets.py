"""Buckets under LocalStack's address, though another S3 keeps them.

So all of S3 has one address, as on AWS. The other one verifies the signatures, which cover the
caller's `Host` header: it is passed on.
"""

from collections.abc import Mapping

from localstack.http import Request, Response
from localstack.http.proxy import Proxy
from localstack.services.edge import ROUTER


def add_routes(endpoints: Mapping[str, str]) -> None:
    """Pass on what is asked of these buckets.

    Args:
        endpoints: of the S3 that keeps a bucket, by the bucket's name.
    """
    for bucket, endpoint in endpoints.items():
        keeper = Proxy(endpoint)

        def answer(request: Request, keeper: Proxy = keeper, **_: str) -> Response:
            return keeper.forward(request)

        ROUTER.add(f"/{bucket}", answer)
        ROUTER.add(f"/{bucket}/<path:key>", answer)
