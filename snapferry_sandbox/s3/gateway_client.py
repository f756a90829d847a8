"""Calls versitygw under one of its accounts."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode
from xml.etree import ElementTree

import aiohttp
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from snapferry_sandbox.s3.configuration import Configuration

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"


class _Signer(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        payload_hash: str = request.context["payload_hash"]
        return payload_hash


class GatewayClient:
    """A client that may take the part of any account of the gateway.

    Args:
        configuration: says where the gateway is, and which accounts AWS has.
        session: makes the calls.
    """

    def __init__(self, configuration: Configuration, session: aiohttp.ClientSession) -> None:
        self._configuration = configuration
        self._session = session
        self._accounts: set[str] = set()
        self._creating = asyncio.Lock()

    def request(
        self,
        method: str,
        target: str,
        *,
        account: str | None = None,
        headers: Mapping[str, str] | None = None,
        payload_hash: str = UNSIGNED_PAYLOAD,
        body: Any = None,
    ) -> aiohttp.client._RequestContextManager:
        """Make a signed request.

        Args:
            method: HTTP method.
            target: path and query, percent-encoded in any way.
            account: name of the account that signs; the gateway's root by default.
            headers: further headers.
            payload_hash: what the header `x-amz-content-sha256` is to say.
            body: what aiohttp takes for one.
        """
        path, _, query = target.partition("?")
        # Encoded in the way signatures are computed, so that there is only one reading of it.
        path = quote(unquote(path), safe="/~")
        query = urlencode(parse_qsl(query, keep_blank_values=True), quote_via=quote, safe="~")
        url = f"{self._configuration.gateway_endpoint}{path}{query and '?'}{query}"
        headers = headers or {}
        signed = AWSRequest(
            method=method,
            url=url,
            headers={
                name: value for name, value in headers.items() if name.lower().startswith("x-amz-")
            },
        )
        signed.context["payload_hash"] = payload_hash
        credentials = Credentials(
            account or self._configuration.gateway_access_key,
            self._configuration.gateway_secret_key,
        )
        _Signer(credentials, "s3", self._configuration.region).add_auth(signed)
        return self._session.request(
            method,
            URL(url, encoded=True),
            headers={**headers, **dict(signed.headers.items())},
            data=body,
            allow_redirects=False,
        )

    async def ensure_account(self, name: str) -> None:
        """Create an account, unless it is there.

        Args:
            name: its access key; all accounts have the root account's secret.
        """
        if name in self._accounts:
            return
        # The owner of the buckets may do everything: the gateway would lock it out of a bucket
        # whose policy doesn't name it.
        owner = self._configuration.bucket_owner.canonical_id
        account = ElementTree.Element("Account")
        for element, text in (
            ("Access", name),
            ("Secret", self._configuration.gateway_secret_key),
            ("Role", "admin" if name == owner else "user"),
        ):
            ElementTree.SubElement(account, element).text = text
        async with (
            self._creating,
            self.request("PATCH", "/create-user", body=ElementTree.tostring(account)) as answer,
        ):
            if answer.status != HTTPStatus.CONFLICT:
                answer.raise_for_status()
        self._accounts.add(name)
