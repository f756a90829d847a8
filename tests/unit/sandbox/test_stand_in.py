"""What stands in for the plugins of versions that come without."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from snapferry_sandbox.opensearch.security import IdentityHeaders
from snapferry_sandbox.opensearch.stand_in import Configuration
from snapferry_sandbox.opensearch.stand_in.index_management import IndexManagement
from snapferry_sandbox.opensearch.stand_in.repositories import Repositories
from snapferry_sandbox.opensearch.stand_in.security import DeniedError, Security

API = "/_opendistro/_security"
ROLE = {
    "cluster_permissions": ["cluster:monitor/*"],
    "index_permissions": [{"index_patterns": ["logs-*"], "allowed_actions": ["indices:monitor/*"]}],
}


@pytest.fixture
def security() -> Security:
    return Security(
        Configuration(
            port=1,
            certificate_file=Path("certificate"),
            key_file=Path("key"),
            node_url="http://127.0.0.1:1",
            objects_folder=Path("objects"),
            security_api=API,
            user="admin",
            password="right",
            identity_headers=IdentityHeaders(user="x-user", roles="x-roles"),
        )
    )


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def administer(security: Security, method: str, resource: str, body: Any = None) -> tuple[int, Any]:
    administrator = security.authenticate(basic("admin", "right"))
    path = f"{API}/api/{resource}"
    return security.administer(administrator, method, path, json.dumps(body).encode())


def test_who_calls_is_told_which_tenants_are_theirs(security: Security) -> None:
    administer(security, "PUT", "tenants/sales", {"description": "sales"})
    administer(security, "PUT", "internalusers/anna", {"password": "p"})
    anna = security.authenticate(basic("anna", "p"))

    _, administrator = administer(security, "GET", "account")
    status, account = security.administer(anna, "GET", f"{API}/api/account", b"")

    assert administrator["tenants"] == {"admin": True, "global_tenant": True, "sales": True}
    assert (status, account["user_name"]) == (200, "anna")
    assert account["tenants"] == {"anna": True, "global_tenant": True}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("admin", "wrong"),
        basic("nobody", "right"),
        {"Authorization": "Basic !"},
        {"Authorization": "Bearer YWRtaW46cmlnaHQ="},
    ],
)
def test_nobody_comes_in_without_a_password(security: Security, headers: dict[str, str]) -> None:
    with pytest.raises(DeniedError) as denied:
        security.authenticate(headers)
    assert denied.value.status == 401


def test_user_may_do_what_the_mapped_roles_allow(security: Security) -> None:
    administer(security, "PUT", "internalusers/mover", {"password": "p", "backend_roles": []})
    mover = security.authenticate(basic("mover", "p"))
    with pytest.raises(DeniedError) as denied:
        security.authorize(mover, "GET", "/_cluster/health")
    assert denied.value.body["error"]["reason"].startswith(
        "no permissions for [cluster:monitor/health] and User [name=mover"
    )

    assert administer(security, "PUT", "roles/watcher", ROLE)[0] == 201
    assert administer(security, "PUT", "rolesmapping/watcher", {"users": ["mover"]})[0] == 201

    security.authorize(mover, "GET", "/_cluster/health")
    security.authorize(mover, "GET", "/logs-1,logs-2/_stats")
    for method, path in (
        ("GET", "/logs-1,orders/_stats"),
        ("DELETE", "/logs-1"),
        ("GET", "/_nodes/hot_threads"),
    ):
        with pytest.raises(DeniedError):
            security.authorize(mover, method, path)


def test_caller_whom_a_front_states_comes_by_backend_role(security: Security) -> None:
    arn = "arn:aws:iam::111111111111:role/Access"
    administer(security, "PUT", "rolesmapping/manage_snapshots", {"backend_roles": [arn]})

    caller = security.authenticate({"x-user": arn, "x-roles": arn})

    security.authorize(caller, "PUT", "/_snapshot/migration/first")
    with pytest.raises(DeniedError):
        security.authorize(caller, "POST", "/logs/_close")


def test_only_administrators_reach_the_api(security: Security) -> None:
    stranger = security.authenticate({"x-user": "stranger", "x-roles": "stranger"})
    status, _ = security.administer(stranger, "GET", f"{API}/api/roles", b"")
    assert status == 403


def test_roles_come_and_go(security: Security) -> None:
    assert administer(security, "GET", "roles/watcher")[0] == 404
    administer(security, "PUT", "roles/watcher", ROLE)
    assert administer(security, "PUT", "roles/watcher", ROLE)[0] == 200
    shown = administer(security, "GET", "roles/watcher")[1]["watcher"]
    assert {name: shown[name] for name in ROLE} == ROLE
    assert administer(security, "DELETE", "roles/watcher")[0] == 200
    assert "watcher" not in administer(security, "GET", "roles")[1]


def test_passwords_are_not_shown(security: Security) -> None:
    _, shown = administer(security, "GET", "internalusers/admin")
    assert shown["admin"]["backend_roles"] == ["admin"]
    assert "right" not in str(shown)


@pytest.mark.parametrize(
    ("method", "resource", "body", "status"),
    [
        ("GET", "securityconfig", None, 404),
        ("PUT", "roles/all_access", ROLE, 403),
        ("DELETE", "roles/all_access", None, 403),
        ("PUT", "rolesmapping/nothing", {"users": ["mover"]}, 404),
        ("PUT", "roles/watcher", {**ROLE, "static": False}, 400),
    ],
)
def test_what_the_api_refuses(
    security: Security, method: str, resource: str, body: Any, status: int
) -> None:
    assert administer(security, method, resource, body)[0] == status


def test_repository_lies_where_the_objects_of_the_bucket_are() -> None:
    repositories = Repositories(Path("/objects"))
    definition = {
        "type": "s3",
        "settings": {"bucket": "b", "base_path": "a/path", "readonly": True, "role_arn": "arn"},
    }

    for_node = json.loads(repositories.register("moved", json.dumps(definition).encode()))

    assert for_node["type"] == "fs"
    assert for_node["settings"]["location"] == "/objects/b/a/path"
    assert for_node["settings"]["readonly"] == "true"
    assert "base_path" not in for_node["settings"]
    other = {"type": "fs", "settings": {"location": "/elsewhere"}}
    assert repositories.as_registered({"moved": for_node, "other": other}) == {
        "moved": {
            "type": "s3",
            "settings": {
                "bucket": "b",
                "base_path": "a/path",
                "readonly": "true",
                "role_arn": "arn",
            },
        },
        "other": other,
    }


def test_policies_are_put_on_indices_and_taken_off() -> None:
    plugin = IndexManagement(API)
    policy = {"description": "", "default_state": "a", "states": [{"name": "a"}]}

    def ask(method: str, resource: str, body: Any = None) -> tuple[int, Any]:
        return plugin.answer(method, f"/_opendistro/_ism/{resource}", json.dumps(body).encode())

    assert ask("POST", "add/logs", {"policy_id": "keep"})[0] == 404
    assert ask("PUT", "policies/keep", {"policy": policy})[0] == 201
    assert ask("PUT", "policies/keep", {"policy": policy})[0] == 409
    [shown] = ask("GET", "policies")[1]["policies"]
    assert (shown["_id"], shown["policy"].items() >= policy.items()) == ("keep", True)
    updated = {"updated_indices": 1, "failures": False, "failed_indices": []}
    assert ask("POST", "add/logs", {"policy_id": "keep"}) == (200, updated)
    assert ask("POST", "add/logs", {"policy_id": "keep"})[1]["failures"]
    for name in ("*", "logs"):
        explained = ask("GET", f"explain/{name}")[1]
        assert explained["logs"]["policy_id"] == "keep"
        assert explained["total_managed_indices"] == 1
    assert ask("POST", "remove/logs") == (200, updated)
    assert ask("POST", "remove/logs")[1]["failures"]
    assert ask("GET", "explain/logs")[1]["logs"]["policy_id"] is None
    assert ask("DELETE", "policies/keep")[0] == 200
    assert ask("GET", "policies/keep")[0] == 404


def test_only_requests_about_one_index_need_it_there() -> None:
    plugin = IndexManagement(API)

    assert plugin.is_api("/_opendistro/_ism/policies")
    assert not plugin.is_api("/_plugins/_ism/policies")
    assert plugin.index_of("/_opendistro/_ism/add/logs") == "logs"
    for resource in ("explain/*", "policies/keep", "policies"):
        assert plugin.index_of(f"/_opendistro/_ism/{resource}") is None
