"""The roles that were passed to the OpenSearch service, by the repositories they are for."""

from collections.abc import Collection

from pydantic import BaseModel

from snapferry_sandbox.s3.errors import access_denied


class PassedRole(BaseModel):
    """A role that was passed when a repository was registered."""

    bucket: str
    base_path: str
    role_arn: str


class PassedRoles:
    """All of them; a repository that is registered again takes its new role."""

    def __init__(self) -> None:
        self._roles: dict[tuple[str, str], str] = {}

    def add(self, passed: PassedRole) -> None:
        """Note a role."""
        self._roles[passed.bucket, _folder(passed.base_path)] = passed.role_arn

    def find(self, bucket: str, keys: Collection[str]) -> str:
        """Return the ARN of the role that a request of the service acts as.

        Args:
            bucket: its name.
            keys: the keys, or the prefix, of the request; without any, the role must be the only
                one for the bucket.

        Raises:
            S3Error: no role was passed for them.
        """
        found = {self._closest(bucket, key) for key in keys if key} or {
            role for (name, _), role in self._roles.items() if name == bucket
        }
        role = found.pop() if len(found) == 1 else None
        if role is None:
            raise access_denied("The service was passed no role for this repository.")
        return role

    def _closest(self, bucket: str, key: str) -> str | None:
        folders = [
            folder
            for name, folder in self._roles
            if name == bucket and _folder(key).startswith(folder)
        ]
        return self._roles[bucket, max(folders, key=len)] if folders else None


def _folder(path: str) -> str:
    return f"{path.strip('/')}/" if path.strip("/") else ""
