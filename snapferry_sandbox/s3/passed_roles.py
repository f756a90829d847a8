"""The roles that were passed to the OpenSearch service, by the repositories they are for."""

from collections.abc import Collection, Mapping

from pydantic import BaseModel


class PassedRole(BaseModel):
    """A role that was passed when a repository was registered."""

    access_key_id: str
    """Of the domain's nodes."""
    bucket: str
    base_path: str
    role_arn: str


class PassedRoles:
    """All of them; a repository that is registered again takes its new role."""

    def __init__(self) -> None:
        self._roles: dict[tuple[str, str, str], str] = {}

    def add(self, passed: PassedRole) -> None:
        """Note a role."""
        place = passed.access_key_id, passed.bucket, _folder(passed.base_path)
        self._roles[place] = passed.role_arn

    def find(self, access_key_id: str, bucket: str, keys: Collection[str]) -> str | None:
        """Return the ARN of the role that a domain's request acts as; None if none was passed.

        Args:
            access_key_id: whose request.
            bucket: its name.
            keys: the keys, or the prefix, of the request; without any, the role must be the only
                one for the bucket.
        """
        roles = {
            folder: role
            for (nodes, name, folder), role in self._roles.items()
            if (nodes, name) == (access_key_id, bucket)
        }
        found = {_closest(roles, key) for key in keys if key} or set(roles.values())
        return found.pop() if len(found) == 1 else None


def _closest(roles: Mapping[str, str], key: str) -> str | None:
    folders = [folder for folder in roles if _folder(key).startswith(folder)]
    return roles[max(folders, key=len)] if folders else None


def _folder(path: str) -> str:
    return f"{path.strip('/')}/" if path.strip("/") else ""
