"""Rights on two real clusters: which are missing, and a role that comes and goes."""

import json
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from opensearchpy import OpenSearch

from snapferry import (
    aliases,
    clients,
    indices,
    repositories,
    request,
    restores,
    roll_back,
    security,
    snapshots,
    verification,
)
from snapferry.errors import AccessDenied
from snapferry.ownership import Ownership
from snapferry.request import DomainJob
from tests.clusters.conftest import bucket_let_write
from tests.sandbox.migrations import Sandbox, fill

_PATIENCE_SECONDS = 60
_INDEX = "rights-1"

type MakeJob = Callable[..., DomainJob]


@pytest.fixture(autouse=True)
def no_rights_for_everybody(sandbox: Sandbox) -> Iterator[None]:
    """Takes away what the plugin's own configuration gives to every user, such as bulk requests."""
    clusters = (sandbox.source, sandbox.destination)
    for cluster in clusters:
        cluster.security.delete_role_mapping(role="own_index")
    yield
    for cluster in clusters:
        cluster.security.create_role_mapping(role="own_index", body={"users": ["*"]})


@pytest.fixture
def role_arn(sandbox: Sandbox) -> Iterator[str]:
    """A role that may call the domain, and isn't mapped there."""
    name = f"Stranger-{uuid.uuid4().hex[:8]}"
    iam = boto3.client(
        "iam",
        endpoint_url=sandbox.world.aws.endpoint,
        region_name=sandbox.world.aws.region,
        aws_access_key_id=sandbox.world.aws.accounts["source"],
        aws_secret_access_key="test",
    )
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    calls = {"Effect": "Allow", "Action": ["es:ESHttp*", "iam:PassRole"], "Resource": "*"}
    arn = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]})
    )["Role"]["Arn"]
    iam.put_role_policy(
        RoleName=name,
        PolicyName="calls",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [calls]}),
    )
    yield arn
    iam.delete_role_policy(RoleName=name, PolicyName="calls")
    iam.delete_role(RoleName=name)


@pytest.fixture
def user(sandbox: Sandbox) -> Iterator[str]:
    """A user of the destination that has no rights; its secret bears its name."""
    name = f"stranger-{uuid.uuid4().hex[:8]}"
    password = secrets.token_urlsafe(24)
    sandbox.destination.security.create_user(username=name, body={"password": password})
    ca_certificate = sandbox.world.destinations[0].ca_file.read_text()
    secret = {"username": name, "password": password, "ca_certificate": ca_certificate}
    secretsmanager = boto3.client("secretsmanager")
    secretsmanager.create_secret(Name=f"snapferry/{name}", SecretString=json.dumps(secret))
    yield name
    secretsmanager.delete_secret(SecretId=f"snapferry/{name}", ForceDeleteWithoutRecovery=True)
    sandbox.destination.security.delete_user(username=name)


@pytest.fixture
def make_job(sandbox: Sandbox, role_arn: str, user: str) -> MakeJob:
    """Makes the job of a migration of its own, whose identities have no rights."""

    def make(**changes: Any) -> DomainJob:
        secret = boto3.client("secretsmanager").describe_secret(SecretId=f"snapferry/{user}")
        migration_id = f"Rights-{uuid.uuid4().hex[:8]}"
        document = sandbox.request(
            _INDEX,
            bucket__base_path=f"snapferry/{migration_id}",
            domain__access_role_arn=role_arn,
            destination__secret_arn=secret["ARN"],
            **changes,
        )
        [job], _ = request.parse(document, migration_id)
        clients.records(migration_id).write("jobs", [job.model_dump(mode="json")])
        return job

    return make


def grant(job: DomainJob) -> tuple[int, int]:
    journal = clients.journal(job.migration_id)
    return (
        security.grant_at_source(
            journal, clients.source(job.domain), clients.source_administrator(job.domain), job
        ),
        security.grant_at_destination(
            journal,
            clients.destination(job.destination),
            clients.destination_administrator(job.destination),
            job,
            clients.destination_caller(job.destination),
        ),
    )


def give_back(job: DomainJob) -> dict[str, Any]:
    records = clients.records(job.migration_id)
    journal = clients.journal(job.migration_id)
    return roll_back.give_back(journal, records, clients.sides(records), float("inf"))


def rights_of(sandbox: Sandbox) -> list[Any]:
    return [
        (cluster.security.get_roles(), cluster.security.get_role_mappings())
        for cluster in (sandbox.source, sandbox.destination)
    ]


def migrate(sandbox: Sandbox, job: DomainJob) -> None:
    """Everything that a migration asks of the clusters, as far as rights go."""
    source, destination = clients.source(job.domain), clients.destination(job.destination)
    journal = clients.journal(job.migration_id)
    ownership = Ownership(clients.records(job.migration_id), job)
    fill(sandbox.source, _INDEX, 100, aliases={"rights": {}})
    repositories.register_source(journal, source, job)
    repositories.register_destination(journal, destination, job)
    selected = [indices.list_all(source)[_INDEX]]
    for number in (1, 2):
        snapshot = snapshots.start(journal, source, job, number, [_INDEX])
        assert snapshots.check(source, job, snapshot, _PATIENCE_SECONDS).ended
        started_at = time.time()
        restores.start(destination, ownership, job, number, selected, [_INDEX])
        assert restores.check(destination, selected, started_at, _PATIENCE_SECONDS).ended
    verification.raise_faults(verification.verify(source, destination, ownership, selected))
    aliases.move(source, destination, [_INDEX])
    read(source)
    read(destination)
    freeze(source)
    catch_up(destination)
    destination.indices.delete(index=_INDEX)
    snapshots.delete(source, job, 2)
    sandbox.source.indices.delete(index=_INDEX)


def read(cluster: OpenSearch) -> None:
    """What is read of indices and documents, also by searches inside other requests."""
    cluster.info()
    cluster.tasks.list(actions="indices:data/write/*")
    cluster.indices.get(index=_INDEX)
    cluster.indices.get_mapping(index=_INDEX)
    cluster.indices.stats(index=_INDEX, level="shards")
    cluster.cluster.state(metric="metadata", index=_INDEX)
    cluster.cluster.get_settings(flat_settings=True)
    assert cluster.indices.flush(index=_INDEX)["_shards"]["failed"] == 0
    [answer] = cluster.msearch(index=_INDEX, body=[{}, {"size": 1}])["responses"]
    assert answer["hits"]["hits"]
    [document] = cluster.mget(index=_INDEX, body={"ids": ["1"]})["docs"]
    assert document["found"]


def freeze(source: OpenSearch) -> None:
    answer = source.transport.perform_request("PUT", f"/{_INDEX}/_block/write")
    assert (answer["acknowledged"], answer["shards_acknowledged"]) == (True, True)
    source.indices.put_settings(index=_INDEX, body={"index.blocks.write": None})


def catch_up(destination: OpenSearch) -> None:
    destination.indices.put_settings(index=_INDEX, body={"index.refresh_interval": "-1"})
    destination.indices.put_mapping(index=_INDEX, body={"properties": {"new": {"type": "keyword"}}})
    version = {"version": 9, "version_type": "external_gte"}
    written = destination.bulk(
        body=[
            {"index": {"_index": _INDEX, "_id": "1", **version}},
            {"new": "x", "unmapped": 1},
            {"delete": {"_index": _INDEX, "_id": "2"}},
        ]
    )
    assert not written["errors"], written
    setting = "indices.recovery.max_concurrent_file_chunks"
    destination.cluster.put_settings(body={"transient": {setting: 3}})
    destination.cluster.put_settings(body={"transient": {setting: None}})


@pytest.mark.parametrize("master", ["domain_master_secret", "domain_master_role"])
def test_rights_are_granted_used_and_taken_away(
    sandbox: Sandbox, make_job: MakeJob, master: str
) -> None:
    kind = "role_arn" if master.endswith("role") else "secret_arn"
    job = make_job(domain__master_user={kind: sandbox.world.deployment[master]})
    for cluster in (sandbox.source, sandbox.destination):
        mapping = {"users": ["nightly"], "backend_roles": ["backup"], "description": "theirs"}
        cluster.security.create_role_mapping(role="manage_snapshots", body=mapping)
    before = rights_of(sandbox)

    at_source, at_destination = grant(job)

    assert at_source > 0
    assert at_destination > 0
    assert grant(job) == (0, 0)
    # What rights are good for is no matter of who has granted them.
    if kind == "role_arn":
        with bucket_let_write(job):
            migrate(sandbox, job)
    outcome = give_back(job)
    assert (outcome["failed"], outcome["foreign"], outcome["waiting"]) == ([], [], 0)
    assert rights_of(sandbox) == before
    with pytest.raises(AccessDenied, match="no permissions for"):
        clients.source(job.domain).cat.indices()


def test_rights_that_are_listed_as_missing_are_all_that_a_migration_needs(
    sandbox: Sandbox, make_job: MakeJob, role_arn: str, user: str
) -> None:
    job = make_job(domain__master_user=None, destination__master_user=None)
    before = rights_of(sandbox)
    # The source's come first.
    for cluster, name in ((sandbox.source, role_arn), (sandbox.destination, user)):
        with pytest.raises(AccessDenied) as caught:
            grant(job)
        listed = re.search(
            r"Cluster permissions: (.*?)\. Index permissions on \*: (.*?)\. ", str(caught.value)
        )
        assert listed
        permissions = {"index_patterns": ["*"], "allowed_actions": listed[2].split(", ")}
        cluster.security.create_role(
            role="by-hand",
            body={
                "cluster_permissions": listed[1].split(", "),
                "index_permissions": [permissions],
            },
        )
        cluster.security.create_role_mapping(
            role="by-hand", body={"backend_roles": [name], "users": [name]}
        )

    assert grant(job) == (0, 0)
    with bucket_let_write(job):
        migrate(sandbox, job)

    assert give_back(job)["failed"] == []
    for cluster in (sandbox.source, sandbox.destination):
        cluster.security.delete_role_mapping(role="by-hand")
        cluster.security.delete_role(role="by-hand")
    assert rights_of(sandbox) == before


def test_user_who_may_administer_grants_itself(
    sandbox: Sandbox, make_job: MakeJob, user: str
) -> None:
    job = make_job(destination__master_user=None)
    sandbox.destination.security.create_role_mapping(
        role="security_rest_api_access", body={"users": [user]}
    )
    before = rights_of(sandbox)

    assert grant(job)[1] > 0
    assert give_back(job)["failed"] == []

    assert rights_of(sandbox) == before
    sandbox.destination.security.delete_role_mapping(role="security_rest_api_access")


def test_role_that_somebody_changed_stays_and_is_reported(
    sandbox: Sandbox, make_job: MakeJob
) -> None:
    job = make_job()
    grant(job)
    changed = {"cluster_permissions": ["cluster:monitor/*"]}
    sandbox.destination.security.create_role(role=job.role, body=changed)

    outcome = give_back(job)

    [note] = outcome["foreign"]
    assert job.role in note
    left = sandbox.destination.security.get_role(role=job.role)[job.role]
    assert left["cluster_permissions"] == changed["cluster_permissions"]
    assert job.role not in sandbox.destination.security.get_role_mappings()
    assert job.role not in sandbox.source.security.get_roles()
    sandbox.destination.security.delete_role(role=job.role)
