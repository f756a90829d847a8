"""What a migration may change on its way and has to give back: everything but the data."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError
from opensearchpy import OpenSearch

from snapferry import leases
from snapferry.artifacts.saved_objects import TYPES
from snapferry_sandbox.demo.execution import session_of_destination
from snapferry_sandbox.world import World

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# APIs that list what a migration may copy besides indices, and the part of the answer that counts.
_ARTIFACTS: Mapping[str, str] = {
    "_template": "*",
    "_index_template": "*",
    "_component_template": "*",
    "_data_stream": "data_streams.name",
    "_ingest/pipeline": "*",
    "_search/pipeline": "*",
    # Each by its name, since the last one leaves an empty map behind.
    "_cluster/state/metadata": "metadata.stored_scripts.*",
    "_plugins/_security/api/actiongroups": "*",
    "_plugins/_security/api/internalusers": "*",
    "_plugins/_security/api/tenants": "*",
}

_MOST_SAVED_OBJECTS = 10_000

type Facts = Mapping[str, Any]
"""What was found, by where it was found."""


def look(world: World) -> Facts:
    """Look at both clusters, the bucket and the table."""
    facts: dict[str, Any] = {}
    for cluster in (*world.sources, *world.destinations):
        for where, fact in _of_cluster(cluster.client()):
            facts[f"{cluster.name}: {where}"] = fact
        for where, fact in _of_dashboards(cluster.client(), world.dashboards_of(cluster)):
            facts[f"{cluster.name}: {where}"] = fact
    session = session_of_destination(world)
    s3 = session.client("s3", endpoint_url=world.s3.endpoint)
    for where, fact in _of_bucket(s3, world.s3.bucket):
        facts[f"bucket {world.s3.bucket}: {where}"] = fact
    items = session.resource("dynamodb", endpoint_url=world.aws.endpoint).Table(
        world.deployment["table"]
    )
    for lease in leases.held(items):
        facts[f"lease of {lease.resource}"] = lease.migration_id
    return facts


def difference(before: Facts, after: Facts) -> list[str]:
    """Say in words what is there now and wasn't, isn't any more, or is another."""
    return [
        f"{where}: {_text(before.get(where))} before, {_text(after.get(where))} now"
        for where in sorted(before.keys() | after)
        if before.get(where) != after.get(where)
    ]


def _of_cluster(cluster: OpenSearch) -> Iterator[tuple[str, Any]]:
    for name, repository in cluster.snapshot.get_repository().items():
        yield f"repository {name}", repository
    for snapshot in cluster.snapshot.status()["snapshots"]:
        yield f"running snapshot {snapshot['snapshot']}", snapshot["repository"]
    for name, role in cluster.security.get_roles().items():
        yield f"role {name}", role
    for name, mapping in cluster.security.get_role_mappings().items():
        yield f"mapping of role {name}", mapping
    for path, part in _ARTIFACTS.items():
        # Some answer by 404 where there is nothing, and old engines by others where they know no
        # such thing.
        yield (
            path,
            cluster.transport.perform_request(
                "GET", f"/{path}", params={"filter_path": part, "ignore": (400, 404, 405)}
            ),
        )
    for kind, settings in cluster.cluster.get_settings(flat_settings=True).items():
        for name, value in settings.items():
            yield f"{kind} setting {name}", value
    blocks = cluster.indices.get_settings(
        index="*", name="index.blocks.*", flat_settings=True, expand_wildcards="all"
    )
    for index, blocked in blocks.items():
        for name, value in blocked["settings"].items():
            yield f"{name} of {index}", value


def _of_dashboards(cluster: OpenSearch, its_dashboards: OpenSearch) -> Iterator[tuple[str, Any]]:
    account = cluster.transport.perform_request("GET", "/_plugins/_security/api/account")
    query = urlencode([("per_page", _MOST_SAVED_OBJECTS), *(("type", one) for one in TYPES)])
    for tenant in ("global", *account["tenants"]):
        found = its_dashboards.transport.perform_request(
            "GET", f"/api/saved_objects/_find?{query}", headers={"securitytenant": tenant}
        )
        for saved in found["saved_objects"]:
            yield f"saved {saved['type']} {saved['id']} of tenant {tenant}", saved["attributes"]


def _of_bucket(s3: "S3Client", bucket: str) -> Iterator[tuple[str, Any]]:
    policy = _unless_absent(lambda: s3.get_bucket_policy(Bucket=bucket)["Policy"])
    yield "policy", policy and json.loads(policy)
    acl = s3.get_bucket_acl(Bucket=bucket)
    yield "ACL", [acl["Owner"], acl["Grants"]]
    ownership = _unless_absent(lambda: s3.get_bucket_ownership_controls(Bucket=bucket))
    yield "object ownership", ownership and ownership["OwnershipControls"]


def _unless_absent[T](get: Callable[[], T]) -> T | None:
    try:
        return get()
    except ClientError as error:
        if error.response["Error"]["Code"] in (
            "NoSuchBucketPolicy",
            "OwnershipControlsNotFoundError",
        ):
            return None
        raise


def _text(fact: Any) -> str:
    return "absent" if fact is None else json.dumps(fact, sort_keys=True, default=str)
