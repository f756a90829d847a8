"""The security plugin of a cluster: what it starts with, and users added later by its REST API."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from opensearchpy import OpenSearch


@dataclass(frozen=True)
class IdentityHeaders:
    """Names of the headers by which a front states who is calling.

    Everything on this machine can reach a cluster, and the cluster believes these headers. So their
    names are as secret as a password.
    """

    user: str
    """Names the header with the caller's name."""
    roles: str
    """Names the header with the caller's backend roles, separated by commas."""


def write_configuration(home: Path, folder: Path, identity_headers: IdentityHeaders | None) -> None:
    """Write the configuration that a cluster loads at its first start.

    It has the plugin's own roles, the backend role `admin` mapped to all access, and no user yet.

    Args:
        home: the OpenSearch home with the plugin.
        folder: `opensearch-security` in the node's configuration folder.
        identity_headers: lets a front on this machine state who is calling, as Amazon OpenSearch
            Service's does; without them only passwords count.
    """
    shutil.copytree(home / "plugins" / "opensearch-security" / "config", folder)
    authentication: dict[str, Any] = {
        "basic": {
            "order": 1,
            "http_enabled": True,
            "http_authenticator": {"type": "basic", "challenge": True},
            "authentication_backend": {"type": "intern"},
        }
    }
    if identity_headers is not None:
        authentication["front"] = {
            "order": 0,
            "http_enabled": True,
            "http_authenticator": {
                "type": "proxy",
                "challenge": False,
                "config": {
                    "user_header": identity_headers.user,
                    "roles_header": identity_headers.roles,
                },
            },
            "authentication_backend": {"type": "noop"},
        }
    dynamic = {
        "http": {
            "xff": {
                "enabled": identity_headers is not None,
                "internalProxies": r"127\.0\.0\.1",
            }
        },
        "authc": authentication,
    }
    _write(folder / "config.yml", "config", {"config": {"dynamic": dynamic}})
    _write(folder / "internal_users.yml", "internalusers", {})


def ensure_user(
    client: OpenSearch, name: str, password: str, *, backend_roles: Sequence[str] = ()
) -> None:
    """Create an internal user, or give an existing one this password and these backend roles.

    Args:
        client: of somebody who may change the cluster's security.
        name: the user's name.
        password: the user's password; the plugin refuses weak ones.
        backend_roles: the user's backend roles.
    """
    client.security.create_user(
        username=name, body={"password": password, "backend_roles": list(backend_roles)}
    )


def _write(file: Path, kind: str, content: Mapping[str, Any]) -> None:
    meta = {"_meta": {"type": kind, "config_version": 2}}
    file.write_text(yaml.safe_dump({**meta, **content}))
