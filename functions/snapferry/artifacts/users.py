"""New passwords for users: those that they have at the source can't be read."""

import contextlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from snapferry.journal import SECRETS, Changeable, Journal, Place

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_KIND = "secret"


@dataclass(frozen=True)
class Secret:
    """A secret, as a value that changes: whether it is there. What it holds isn't journalled.

    Attributes:
        client: of Secrets Manager.
        name: its name.
        content: what it is to hold.
    """

    client: "SecretsManagerClient"
    name: str
    content: str = field(default="", repr=False)

    def read(self) -> Any:
        """True or None."""
        try:
            found = self.client.describe_secret(SecretId=self.name)
        except self.client.exceptions.ResourceNotFoundException:
            return None
        return None if "DeletedDate" in found else True

    def write(self, value: Any) -> None:
        """Creates it, or deletes it; what another domain has created meanwhile stays."""
        if value:
            with contextlib.suppress(self.client.exceptions.ResourceExistsException):
                self.client.create_secret(
                    Name=self.name,
                    SecretString=self.content,
                    Description="A user that Snapferry has copied",
                )
        else:
            self.client.delete_secret(SecretId=self.name, ForceDeleteWithoutRecovery=True)


CHANGEABLES: Mapping[str, Callable[["SecretsManagerClient", str], Changeable]] = {_KIND: Secret}


@dataclass(frozen=True)
class Vault:
    """Where the new passwords of a domain's users are kept.

    Attributes:
        client: of Secrets Manager.
        path: with which the names of the secrets begin.
    """

    client: "SecretsManagerClient"
    path: str

    def place(self, user: str) -> Place:
        """The place of a user's secret."""
        return Place(SECRETS, _KIND, self.path + _secret_name(user))

    def password(self, journal: Journal, user: str) -> str:
        """Makes a user's password and keeps it; each attempt gives the same.

        Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
        """
        place = self.place(user)
        # With a letter of each case, a digit and another sign, as some clusters want it.
        made = {"username": user, "password": f"{secrets.token_urlsafe(24)}-aA1"}
        journal.change(place, Secret(self.client, place.key, json.dumps(made)), value=True)
        kept = self.client.get_secret_value(SecretId=place.key)["SecretString"]
        password: str = json.loads(kept)["password"]
        return password


def places(journal: Journal, users: Iterable[str]) -> set[Place]:
    """The places of the secrets that a migration has made for some users."""
    names = {_secret_name(user) for user in users}
    return {
        change.place
        for change in journal.open_changes(CHANGEABLES)
        if change.place.key.rpartition("/")[2] in names
    }


def _secret_name(user: str) -> str:
    """The last part of its name; it may not have everything that names of users have."""
    return quote(user, safe="").replace("%", "=")
