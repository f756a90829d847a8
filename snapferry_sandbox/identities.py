"""Whose an access key is: the world's own keys, and those that LocalStack's STS and IAM gave."""

import datetime
from collections.abc import Iterable

import aiohttp
from pydantic import AwareDatetime, BaseModel, ConfigDict


class Identity(BaseModel):
    """An access key with its secret, and the principal that it acts for."""

    model_config = ConfigDict(frozen=True)

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    """Only temporary credentials have one."""
    expires_at: AwareDatetime | None = None
    account: str
    """The account's number, 12 digits."""
    arn: str
    """As `sts:GetCallerIdentity` names it: a user, the account's root, or a role's session."""

    @property
    def is_role_session(self) -> bool:
        """Whether the principal is a role that was assumed."""
        return ":assumed-role/" in self.arn

    @property
    def principal_arn(self) -> str:
        """The ARN of the IAM user, of the role (not of its session), or of the account's root."""
        prefix, _, name = self.arn.partition(":assumed-role/")
        if not name:
            return self.arn
        partition = prefix.split(":")[1]
        return f"arn:{partition}:iam::{self.account}:role/{name.split('/')[0]}"

    def expired(self, now: datetime.datetime) -> bool:
        """Whether the credentials' time is over."""
        return self.expires_at is not None and self.expires_at <= now


class Identities:
    """Finds the identity behind an access key id.

    Args:
        fixed: keys that are known beforehand: each account's administrator, the clusters' nodes.
        aws_endpoint: where LocalStack is asked for all the others.
        session: asks it.
    """

    def __init__(
        self, fixed: Iterable[Identity], aws_endpoint: str, session: aiohttp.ClientSession
    ) -> None:
        self._known = {identity.access_key_id: identity for identity in fixed}
        self._url = f"{aws_endpoint}/_snapferry/identities"
        self._session = session

    async def find(self, access_key_id: str) -> Identity | None:
        """Return the identity, expired or not; None if nobody has that key.

        Raises:
            aiohttp.ClientError: LocalStack doesn't answer.
        """
        known = self._known.get(access_key_id)
        # A key is letters and digits; anything else must not become part of an address.
        if known or not access_key_id.isalnum():
            return known
        async with self._session.get(f"{self._url}/{access_key_id}") as response:
            if response.status == 404:
                return None
            response.raise_for_status()
            identity = Identity(access_key_id=access_key_id, **await response.json())
        # Temporary credentials never change; a user's key may be deleted at any time.
        if identity.expires_at:
            self._known[access_key_id] = identity
        return identity
