"""What the bridge has to know of a bucket before it can decide about a request."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from xml.etree import ElementTree

from snapferry_sandbox.s3 import policies
from snapferry_sandbox.s3.gateway_client import GatewayClient

ENFORCED = "BucketOwnerEnforced"


@dataclass(frozen=True)
class Bucket:
    """A bucket's permissions."""

    owner: str
    """Number of the AWS account."""
    ownership: str
    """Object Ownership: `BucketOwnerEnforced`, `BucketOwnerPreferred` or `ObjectWriter`."""
    policy: Mapping[str, Any] | None
    """As AWS writes it."""
    gateway_accounts: frozenset[str]
    """The gateway's accounts that the policy names."""
    has_foreign_grants: bool
    """Whether its ACL grants something to others than its owner."""


class Buckets:
    """All buckets, each read again only after it was changed.

    Args:
        gateway: keeps them.
        canonical_ids: of all AWS accounts, by their numbers.
    """

    def __init__(self, gateway: GatewayClient, canonical_ids: Mapping[str, str]) -> None:
        self._gateway = gateway
        self._canonical_ids = canonical_ids
        self._numbers = {canonical_id: number for number, canonical_id in canonical_ids.items()}
        self._read: dict[str, Bucket] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, name: str) -> Bucket | None:
        """Return a bucket; None if there is none of that name."""
        if name not in self._read:
            async with self._locks[name]:
                bucket = self._read.get(name) or await self._fetch(name)
                if bucket is None:
                    return None
                self._read[name] = bucket
        return self._read[name]

    @asynccontextmanager
    async def changing(self, name: str) -> AsyncIterator[None]:
        """Change a bucket's permissions: nobody decides by the old ones from here on."""
        async with self._locks[name]:
            self._read.pop(name, None)
            yield

    async def _fetch(self, name: str) -> Bucket | None:
        acl = await self._get(f"/{name}?acl")
        if acl is None:
            return None
        grants = _parse(acl)
        owner = _text(grants, "Owner", "ID")
        ownership = await self._get(f"/{name}?ownershipControls")
        policy = await self._get(f"/{name}?policy")
        translated = json.loads(policy) if policy else None
        return Bucket(
            owner=self._numbers[owner],
            ownership=(
                _text(_parse(ownership), "Rule", "ObjectOwnership") if ownership else "ObjectWriter"
            ),
            policy=policies.from_gateway(translated, self._canonical_ids) if translated else None,
            gateway_accounts=frozenset(policies.named_accounts(translated) if translated else ()),
            has_foreign_grants=any(
                _text(grant, "Grantee", "ID") != owner for grant in grants.iterfind(".//{*}Grant")
            ),
        )

    async def _get(self, target: str) -> bytes | None:
        async with self._gateway.request("GET", target) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                return None
            answer.raise_for_status()
            return await answer.read()


def _parse(document: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(document)  # noqa: S314 - the gateway's own


def _text(element: ElementTree.Element, *path: str) -> str:
    return element.findtext("/".join(f"{{*}}{name}" for name in path)) or ""
