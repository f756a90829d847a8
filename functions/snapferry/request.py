"""The input of a migration: its models, its published JSON schema, its error messages.

`python -m snapferry.request` prints the schema.
"""

import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from snapferry.errors import InvalidInput

_DAY_SECONDS = 86_400


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _endpoint(value: str) -> str:
    """Accepts an address with or without `https://` and gives back host and port alone."""
    parts = urlsplit(value if "://" in value else f"https://{value}")
    if parts.scheme != "https":
        raise ValueError("only https is accepted, because credentials travel with each request")
    if parts.username or parts.password:
        raise ValueError("credentials don't belong into an address; they come from Secrets Manager")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port has to be a number up to 65535") from None
    hostname = (parts.hostname or "").lower()
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", hostname):
        raise ValueError("this is no host name")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("give the host alone, without a path")
    # One address has one spelling, so that a domain that is named twice is found.
    return f"{hostname}:{port}" if port not in (None, 443) else hostname


def _base_address(value: str) -> str:
    """An endpoint with the path below which everything lies, if there is one."""
    parts = urlsplit(value if "://" in value else f"https://{value}")
    if not re.fullmatch(r"(/[\w.~-]+)*/?", parts.path):
        raise ValueError("a path is of letters, digits and . _ ~ - between slashes")
    return _endpoint(parts._replace(path="").geturl()) + parts.path.rstrip("/")


def _index_pattern(value: str) -> str:
    if value.startswith("."):
        raise ValueError("system indices (their names start with a dot) are never moved")
    if not re.fullmatch(r'[^A-Z\s,#:"<>|\\/?_+-][^A-Z\s,#:"<>|\\/?]*', value):
        raise ValueError(
            "an index pattern is lower case, without spaces and , # : \" < > | \\ / ?, and doesn't "
            "start with - _ or +"
        )
    return value


def _base_path(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*", value):
        raise ValueError("give a path without a leading, trailing or double slash")
    if any(part in (".", "..") for part in value.split("/")):
        raise ValueError("the path must not hold . or ..")
    return value


MIGRATION_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
"""The whole of a migration's id, which becomes part of the names of snapshots."""
OWN_PREFIX = "snapferry-"
"""What the names of migrations' roles, repositories and snapshots on clusters begin with."""
LARGEST_JOBS_BYTES = 200 * 1024
"""Of all domains' jobs: a state passes on 256 KiB, and why some failed may be in it besides."""

Endpoint = Annotated[str, AfterValidator(_endpoint)]
BaseAddress = Annotated[str, AfterValidator(_base_address)]
IndexPattern = Annotated[str, AfterValidator(_index_pattern)]
BasePath = Annotated[str, Field(max_length=512), AfterValidator(_base_path)]
Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
RoleArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$")]
SecretArn = Annotated[
    str, Field(pattern=r"^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:.+$")
]
PrincipalArn = Annotated[
    str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:(root|(role|user)/[\w+=,.@/-]+)$")
]
Gate = Literal["plan", "stop_writes", "clients_moved"]
Mode = Literal["migrate", "plan", "rehearse", "snapshot_only", "restore_only"]
Rejected = Literal["fail", "leave_out"]
Depth = Literal["quick", "sampled", "full"]
"""How deeply documents are verified."""
Way = Literal["policy", "acl"]
"""By what a bucket lets the domains write: its policy alone, or also its ACL."""
ArtifactGroup = Literal[
    "scripts",
    "pipelines",
    "templates",
    "data_streams",
    "cluster_settings",
    "index_policies",
    "security",
    "saved_objects",
]
"""Artifacts that the input takes or leaves together."""


class Indices(_Model):
    """Which indices of a domain are moved. System indices never are."""

    include: tuple[IndexPattern, ...] = Field(
        default=("*",),
        min_length=1,
        description="names or patterns with * of the indices to move",
        examples=[["logs-*", "orders"]],
        strict=False,
    )
    exclude: tuple[IndexPattern, ...] = Field(
        default=(),
        description="names or patterns with * to leave out of those",
        examples=[["logs-test-*"]],
        strict=False,
    )


class MasterUser(_Model):
    """Who may change the security configuration of a cluster."""

    secret_arn: SecretArn | None = Field(
        default=None,
        description="a secret with username and password of an internal user",
        examples=["arn:aws:secretsmanager:eu-west-1:222222222222:secret:snapferry/master-a1"],
    )
    role_arn: RoleArn | None = Field(
        default=None,
        description="on a domain, the role that is its IAM master user; the functions assume it",
        examples=["arn:aws:iam::111111111111:role/SnapferryDomainMaster"],
    )

    @model_validator(mode="after")
    def _one_user(self) -> Self:
        if (self.secret_arn is None) == (self.role_arn is None):
            raise ValueError(
                "give either secret_arn, of an internal user, or role_arn, of an IAM master user"
            )
        return self


class Destination(_Model):
    """The cluster that takes the indices: an Amazon domain, or any other with an internal user."""

    endpoint: Endpoint = Field(
        description="the cluster's address", examples=["search.example.com:9200"]
    )
    secret_arn: SecretArn | None = Field(
        default=None,
        description="a secret with username, password and, for a CA of your own, ca_certificate; "
        "not of an Amazon domain",
        examples=["arn:aws:secretsmanager:eu-west-1:222222222222:secret:snapferry/destination-a1"],
    )
    region: Region | None = Field(
        default=None, description="of an Amazon domain, its region", examples=["eu-west-1"]
    )
    access_role_arn: RoleArn | None = Field(
        default=None,
        description="of an Amazon domain, the role which the functions assume to call it",
        examples=["arn:aws:iam::333333333333:role/SnapferryDomainAccess"],
    )
    snapshot_role_arn: RoleArn | None = Field(
        default=None,
        description="of an Amazon domain, the role with which it reads the bucket",
        examples=["arn:aws:iam::333333333333:role/SnapferrySnapshot"],
    )
    master_user: MasterUser | None = Field(
        default=None,
        description="who grants the user of secret_arn, or access_role_arn, the rights that it "
        "lacks; itself if left out",
        examples=[
            {"secret_arn": "arn:aws:secretsmanager:eu-west-1:222222222222:secret:snapferry/m-a1"}
        ],
    )
    dashboards_endpoint: BaseAddress | None = Field(
        default=None,
        description="the address of the cluster's Dashboards, with its base path if it has one; "
        "needed where saved objects are copied, but not of an Amazon domain",
        examples=["dashboards.example.com:5601"],
    )
    lift_restore_limits: bool = Field(
        default=True,
        description="whether the cluster's limits of recoveries are lifted while it restores; an "
        "Amazon domain's can't be",
        examples=[True],
    )
    reader_arn: PrincipalArn | None = Field(
        default=None,
        description="the role or user with which the cluster reads the bucket, where the bucket's "
        "policy has to let it because it is of another account; an Amazon domain's is "
        "snapshot_role_arn",
        examples=["arn:aws:iam::333333333333:role/SearchNodes"],
    )
    repository_settings: dict[str, str] = Field(
        default={},
        description="more settings of the read-only repository, such as client or endpoint",
        examples=[{"client": "default"}],
    )

    @property
    def is_domain(self) -> bool:
        """Whether it is an Amazon OpenSearch Service domain."""
        return self.access_role_arn is not None

    @property
    def bucket_reader(self) -> str | None:
        """The ARN by which the bucket's policy has to let it read; None where it needn't."""
        return self.snapshot_role_arn or self.reader_arn

    @field_validator("repository_settings")
    @classmethod
    def _not_ours(cls, value: dict[str, str]) -> dict[str, str]:
        ours = {"bucket", "base_path", "region", "readonly", "role_arn", "shard_path_type"}
        if ours := ours & value.keys():
            raise ValueError(f"{', '.join(sorted(ours))} can't be set: the migration sets it")
        secret = [name for name in value if re.search(r"key|token|password", name)]
        if secret:
            raise ValueError(
                f"{', '.join(sorted(secret))}: secrets don't belong into the input; put them into "
                "the keystore of the cluster's nodes"
            )
        return value

    @model_validator(mode="after")
    def _one_caller(self) -> Self:
        of_domain = {
            "region": self.region,
            "access_role_arn": self.access_role_arn,
            "snapshot_role_arn": self.snapshot_role_arn,
        }
        missing = [name for name, value in of_domain.items() if value is None]
        given = [name for name in of_domain if name not in missing]
        if self.secret_arn is None and missing:
            raise ValueError(
                "give secret_arn, of an internal user, or of an Amazon domain region, "
                f"access_role_arn and snapshot_role_arn; missing of these: {', '.join(missing)}"
            )
        if self.secret_arn is not None and given:
            raise ValueError(
                f"secret_arn is of any cluster but an Amazon domain, and {', '.join(given)} of a "
                "domain alone: leave out the one or the other"
            )
        return self

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.access_role_arn and self.snapshot_role_arn:
            _refuse_other_account(self.access_role_arn, self.snapshot_role_arn, "snapshot_role_arn")
            if self.reader_arn:
                raise ValueError(
                    "an Amazon domain reads the bucket as snapshot_role_arn: leave reader_arn out"
                )
            if self.dashboards_endpoint:
                raise ValueError(
                    "an Amazon domain has Dashboards below its endpoint: leave dashboards_endpoint "
                    "out"
                )
        elif self.master_user is not None and self.master_user.role_arn is not None:
            raise ValueError(
                "master_user.role_arn is of Amazon domains alone: give master_user.secret_arn, of "
                "an internal user"
            )
        return self


class _DomainOptions(_Model):
    """What can be said of a domain in anybody's words."""

    master_user: MasterUser | None = Field(
        default=None,
        description="who grants access_role_arn the rights that it lacks; itself if left out",
        examples=[{"role_arn": "arn:aws:iam::111111111111:role/SnapferryDomainMaster"}],
    )
    canonical_id: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="the canonical ID of the domain's account, as `aws s3api list-buckets --query "
        "Owner.ID` tells it there; needed where the bucket's ACL has to let the domain write",
        examples=["79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"],
    )
    name: str = Field(
        default="",
        pattern=r"^([a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?)?$",
        description="a short name for messages and paths; made from the host when left out",
        examples=["logs"],
    )
    indices: Indices = Field(default=Indices(), description="which indices are moved")
    destination: Destination | None = Field(
        default=None,
        description="the cluster that takes the domain's indices, if it isn't that of the others",
        examples=[{"endpoint": "search.example.com:9200"}],
    )
    replicas: int | None = Field(
        default=None,
        ge=0,
        le=20,
        description="replicas of each index at the destination; those of the source if left out",
        examples=[1],
    )


class Domain(_DomainOptions):
    """An Amazon OpenSearch Service domain whose indices are moved."""

    host: Endpoint = Field(
        description="the domain's endpoint", examples=["search-logs-abc.eu-west-1.es.amazonaws.com"]
    )
    region: Region = Field(description="the region of the domain", examples=["eu-west-1"])
    access_role_arn: RoleArn = Field(
        description="the role which the functions assume to call the domain",
        examples=["arn:aws:iam::111111111111:role/SnapferryDomainAccess"],
    )
    snapshot_role_arn: RoleArn = Field(
        description="the role with which the domain writes to the bucket",
        examples=["arn:aws:iam::111111111111:role/SnapferrySnapshot"],
    )
    base_path: BasePath | None = Field(
        default=None,
        description="where in the bucket its snapshots go; bucket.base_path and name if left out",
        examples=["migration/logs"],
    )
    snapshot: str = Field(
        default="*",
        min_length=1,
        description="with mode restore_only: which snapshot is restored, by its name, or a pattern "
        "with * of which the newest complete one is taken; the newest of all if left out",
        examples=["snapferry-nightly-*"],
    )

    @model_validator(mode="after")
    def _one_account(self) -> Self:
        _refuse_other_account(self.access_role_arn, self.snapshot_role_arn, "snapshot_role_arn")
        return self


class GuideDomain(_DomainOptions):
    """A domain in the words of the manual guide's input file, each of its entries as it is."""

    host: Endpoint = Field(
        description="the domain's endpoint", examples=["search-logs-abc.eu-west-1.es.amazonaws.com"]
    )
    region: Region = Field(description="the region of the domain", examples=["eu-west-1"])
    repository_api_endpoint: str = Field(
        default="",
        description="the guide's name of the repository; the migration gives its own one a name",
        examples=["source-repository"],
    )
    snapshot_name: str = Field(
        default="",
        description="the guide's name of the snapshot, which mode restore_only restores, or the "
        "newest one if left out; otherwise the migration names each of its own",
        examples=["snapshot-1"],
    )
    s3_bucket_name: str = Field(
        description="the name of the bucket, the same as bucket.name",
        examples=["company-migration"],
    )
    s3_base_path: BasePath = Field(
        description="where in the bucket the domain's snapshots go",
        examples=["4066e28c/source-repository"],
    )
    s3_role_arn: RoleArn = Field(
        description="the role with which the domain writes to the bucket",
        examples=["arn:aws:iam::111111111111:role/SnapshotRole"],
    )
    access_role_arn: RoleArn | None = Field(
        default=None,
        description="the role which the functions assume to call the domain, in place of the "
        "guide's user; SnapferryDomainAccess in the account of s3_role_arn if left out",
        examples=["arn:aws:iam::111111111111:role/SnapferryDomainAccess"],
    )

    @model_validator(mode="after")
    def _one_account(self) -> Self:
        _refuse_other_account(self._access_role_arn, self.s3_role_arn, "s3_role_arn")
        return self

    def domain(self) -> Domain:
        """The same in our own words."""
        return Domain(
            host=self.host,
            region=self.region,
            access_role_arn=self._access_role_arn,
            snapshot_role_arn=self.s3_role_arn,
            base_path=self.s3_base_path,
            snapshot=self.snapshot_name or "*",
            **{name: getattr(self, name) for name in _DomainOptions.model_fields},
        )

    @property
    def _access_role_arn(self) -> str:
        account = self.s3_role_arn.partition(":role/")[0]
        return self.access_role_arn or f"{account}:role/SnapferryDomainAccess"


def _words(entry: Any) -> Literal["own", "guide"]:
    """In whose words an entry of `domains` is."""
    if isinstance(entry, GuideDomain):
        return "guide"
    guides_own = GuideDomain.model_fields.keys() - Domain.model_fields.keys()
    return "guide" if isinstance(entry, dict) and entry.keys() & guides_own else "own"


class BucketAccess(_Model):
    """How the migration changes who may use the bucket; it gives back what it changed."""

    role_arn: RoleArn = Field(
        description="the role which the functions assume to change the bucket's permissions",
        examples=["arn:aws:iam::222222222222:role/SnapferryBucketAccess"],
    )
    external_id: str | None = Field(
        default=None,
        min_length=2,
        max_length=1224,
        pattern=r"^[\w+=,.@:/-]+$",
        description="the external ID that the role's trust policy asks for, if it does",
        examples=["company-migration"],
    )
    way: Literal["automatic", "policy", "acl"] = Field(
        default="automatic",
        description="what lets the domains write: the bucket's policy alone, also its ACL, or the "
        "policy and the ACL only where a trial shows that it is needed",
        examples=["automatic"],
    )


class Bucket(_Model):
    """The bucket through which the snapshots travel."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="the name of the bucket",
        examples=["company-migration"],
    )
    region: Region = Field(description="the bucket's own region", examples=["eu-west-1"])
    base_path: BasePath = Field(
        default="snapferry",
        description="the path under which everything is written",
        examples=["4066e28c/source-repository"],
    )
    access: BucketAccess | None = Field(
        default=None,
        description="how the migration may change the bucket's permissions; they stay as they are "
        "if left out",
        examples=[{"role_arn": "arn:aws:iam::222222222222:role/SnapferryBucketAccess"}],
    )


_TIME_OF_DAY = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"


class Window(_Model):
    """When writes may be stopped, each day."""

    begins_at: str = Field(
        pattern=_TIME_OF_DAY,
        description="from this time of day on, in UTC, writes may be stopped",
        examples=["22:00"],
    )
    ends_at: str = Field(
        pattern=_TIME_OF_DAY,
        description="from this time of day on, in UTC, they may not; it may be after midnight",
        examples=["04:30"],
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.begins_at == self.ends_at:
            raise ValueError(
                "begins_at and ends_at have to differ; leave the window out for always"
            )
        return self

    def wait_seconds(self, moment: datetime) -> int:
        """How long it takes until writes may be stopped; 0 while they may.

        Args:
            moment: now, in UTC.
        """
        begins, ends = (
            int(time[:2]) * 3_600 + int(time[3:]) * 60 for time in (self.begins_at, self.ends_at)
        )
        now = (moment.hour * 60 + moment.minute) * 60 + moment.second
        if (now - begins) % _DAY_SECONDS < (ends - begins) % _DAY_SECONDS:
            return 0
        return (begins - now) % _DAY_SECONDS


class Cutover(_Model):
    """How the migration comes to its end."""

    rounds: int = Field(
        default=5,
        ge=1,
        le=50,
        description="snapshots restored while clients still write, at most, as long as another one "
        "is quicker than to catch up what it would bring, or, where nothing is caught up, copies "
        "less than half of what the one before did",
        examples=[2],
    )
    catch_up: bool = Field(
        default=True,
        description="whether what was written since the last round's snapshot is copied document "
        "by document, so that writes stop for seconds; where an index can't be, or if false, a "
        "last snapshot is restored while writes are stopped",
        examples=[True],
    )
    write_stop_seconds: int = Field(
        default=5,
        ge=1,
        le=3_600,
        description="the write stop that is wanted: catching up goes on until it is predicted to "
        "be as short, or doesn't become shorter",
        examples=[5],
    )
    catch_up_rounds: int = Field(
        default=20,
        ge=1,
        le=100,
        description="rounds of catching up, at most, before the writes are stopped",
        examples=[20],
    )
    shards_per_function: int = Field(
        default=10_000,
        ge=1,
        le=50_000,
        description="how many shards one function catches up; where there are more, several "
        "functions do so at the same time",
        examples=[10_000],
    )
    gates: tuple[Gate, ...] = Field(
        default=("plan", "stop_writes", "clients_moved"),
        description="at which points a person has to say that it may go on",
        examples=[["stop_writes", "clients_moved"]],
        strict=False,
    )
    gate_deadline_seconds: int = Field(
        default=86_400,
        ge=60,
        le=2_592_000,
        description="how long a gate waits for its answer before the migration fails",
        examples=[86_400],
    )
    window: Window | None = Field(
        default=None,
        description="the time of day in which writes may be stopped: the gate opens in it, and an "
        "answer that comes after it counts for nothing; at any time if left out",
        examples=[{"begins_at": "22:00", "ends_at": "04:30"}],
    )


class Artifacts(_Model):
    """What else of a domain is copied, besides indices and their aliases.

    Nothing that the destination has is written over. Security isn't copied unless it is wanted,
    because it grants rights.
    """

    include: tuple[ArtifactGroup, ...] = Field(
        default=("scripts", "pipelines", "templates", "data_streams", "cluster_settings"),
        description="which groups are copied: scripts, pipelines, templates, data_streams (without "
        "documents), cluster_settings (those that applications feel), index_policies (of Index "
        "State Management), security (action groups, tenants, roles, internal users, mappings of "
        "roles), saved_objects (of Dashboards)",
        examples=[["scripts", "pipelines", "templates"]],
        strict=False,
    )
    exclude: tuple[str, ...] = Field(
        default=(),
        description="names or patterns with * of artifacts to leave out",
        examples=[["test-*"]],
        strict=False,
    )
    internal_users: Literal["list", "create"] = Field(
        default="list",
        description="what becomes of internal users where security is copied, since passwords "
        "can't be read: a list in the report, or users with new passwords in Secrets Manager",
        examples=["create"],
    )


class Retention(_Model):
    """Which snapshots of a series are kept. The newest complete one always is."""

    count: int | None = Field(
        default=None,
        ge=1,
        le=1_000,
        description="how many complete ones are kept, the newest; any number if left out",
        examples=[14],
    )
    age_days: int | None = Field(
        default=None,
        ge=1,
        le=3_650,
        description="how old they become; as old as they are if left out",
        examples=[30],
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.count is None and self.age_days is None:
            raise ValueError("give count, age_days or both; leave retention out to keep all")
        return self


class Series(_Model):
    """Snapshots that are taken again and again, by a schedule."""

    name: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$",
        description="the snapshots are named after it and the time: snapferry-<name>-<time>",
        examples=["nightly"],
    )
    retention: Retention | None = Field(
        default=None,
        description="which of its snapshots are kept; all if left out",
        examples=[{"count": 14, "age_days": 30}],
    )

    @property
    def prefix(self) -> str:
        """What the names of its snapshots begin with; a time follows."""
        return f"{OWN_PREFIX}{self.name}-"


class MigrationRequest(_Model):
    """The input of the state machine `migrate`."""

    domains: tuple[
        Annotated[
            Annotated[Domain, Tag("own")] | Annotated[GuideDomain, Tag("guide")],
            Discriminator(_words),
        ],
        ...,
    ] = Field(
        min_length=1,
        max_length=100,
        description="the domains to move; the manual guide's own array does, too",
        examples=[[{"host": "search-logs-abc.eu-west-1.es.amazonaws.com"}]],
        strict=False,
    )
    bucket: Bucket = Field(description="the bucket through which the snapshots travel")
    destination: Destination | None = Field(
        default=None,
        description="the cluster that takes the indices of all domains that name none themselves",
        examples=[{"endpoint": "search.example.com:9200"}],
    )
    cutover: Cutover = Field(default=Cutover(), description="how the migration comes to its end")
    verification: Depth = Field(
        default="sampled",
        description="which documents are compared, by id, routing and text, before and after the "
        "write stop: none beyond counting them, some of each index, or all",
        examples=["full"],
    )
    artifacts: Artifacts = Field(
        default=Artifacts(), description="what else of the domains is copied"
    )
    mode: Mode = Field(
        default="migrate",
        description="`plan` ends when the plan is made, and changes nothing; `rehearse` restores a "
        "snapshot of each domain under other names, counts its documents, and deletes it again, "
        "while clients go on as ever; `snapshot_only` takes a snapshot of each domain, which the "
        "destination is proven able to read, and ends: the bulk of a migration that follows; "
        "`restore_only` restores such a snapshot, and asks nothing of the source",
        examples=["plan"],
    )
    rejected: Rejected = Field(
        default="fail",
        description="what becomes of indices that match a pattern and can't be moved: `fail` ends "
        "the migration before anything is changed, `leave_out` leaves them at the source; one that "
        "is named, without *, ends it always",
        examples=["leave_out"],
    )
    snapshots_afterwards: Literal["keep", "delete"] = Field(
        default="keep",
        description="what becomes of the snapshots when a migration has succeeded; those of other "
        "modes stay",
        examples=["keep"],
    )
    series: Series | None = Field(
        default=None,
        description="with mode snapshot_only: snapshots that are taken again and again, each with "
        "its time in its name, and deleted when they are too many or too old",
        examples=[{"name": "nightly", "retention": {"count": 14}}],
    )
    domains_at_once: int = Field(
        default=4,
        ge=1,
        le=40,
        description="how many domains are moved side by side",
        examples=[4],
    )


class DomainJob(_Model):
    """What the state machines pass on for one domain: its part of the request, filled in."""

    migration_id: str
    domain: Domain
    bucket: Bucket
    destination: Destination
    cutover: Cutover
    verification: Depth
    artifacts: Artifacts
    mode: Mode
    rejected: Rejected
    snapshots_afterwards: Literal["keep", "delete"]
    series: Series | None = None
    way: Way = "policy"
    """By what the bucket lets the domain write."""
    began_at: str = ""
    """Of a series, when the migration was started, as the names of its snapshots say it."""

    @property
    def base_path(self) -> str:
        """The domain's own path in the bucket; no other domain ever writes there."""
        return self.domain.base_path or f"{self.bucket.base_path}/{self.domain.name}"

    @property
    def role(self) -> str:
        """The name of the role that holds the migration's rights, on both sides."""
        return f"{OWN_PREFIX}{self.migration_id.lower()}"

    @property
    def rehearsal_prefix(self) -> str:
        """What the names of a rehearsal's copies begin with."""
        digest = hashlib.sha256(f"{self.migration_id}/{self.domain.name}".encode()).hexdigest()
        return f"rehearsal-{digest[:8]}-"

    @property
    def repository(self) -> str:
        """The repository's name on both sides, unique to the migration."""
        return f"{self.role}-{self.domain.name}"

    def snapshot(self, round_number: int) -> str:
        """The name of a round's snapshot, the same at each attempt."""
        if self.mode == "restore_only":
            return self.domain.snapshot
        if self.series:
            return f"{self.series.prefix}{self.began_at}"
        return f"{self.repository}-{round_number}"


SERIES_TIME = "%Y%m%dt%H%M%Sz"
"""How the name of a series' snapshot tells its time, in UTC."""


def parse(
    document: Any, migration_id: str, started_at: datetime | None = None
) -> tuple[list[DomainJob], int]:
    """Checks the input of a migration and splits it into a job for each domain.

    Args:
        document: the input of the execution.
        migration_id: the execution's name.
        started_at: when it was started; now if left out.

    Returns:
        A job for each domain, with names and paths filled in, and how many run side by side.

    Raises:
        InvalidInput: naming each field that can't be used, and the remedy.
    """
    if not MIGRATION_ID.fullmatch(migration_id):
        raise InvalidInput(
            f"the execution's name {migration_id!r} becomes part of snapshot names: use at most 80 "
            "letters, digits, - and _"
        )
    try:
        request = MigrationRequest.model_validate(document)
    except ValidationError as error:
        problems = error.errors()
        raise InvalidInput(
            "; ".join(
                _explain(problem)
                for problem in problems
                # A list without its faulty items is called too short: that only repeats them.
                if not any(_contains(problem["loc"], other["loc"]) for other in problems)
            )
        ) from None
    destinations = _destinations(request)
    _refuse_other_buckets(request)
    _refuse_missing_access(request)
    _refuse_missing_dashboards(request)
    _refuse_unfit_series(request)
    access = request.bucket.access
    began_at = ""
    if request.series:
        began_at = f"{(started_at or datetime.now(UTC)).astimezone(UTC):{SERIES_TIME}}"
    domains = [
        entry.domain() if isinstance(entry, GuideDomain) else entry for entry in request.domains
    ]
    jobs = [
        DomainJob(
            migration_id=migration_id,
            domain=domain.model_copy(
                update={"name": domain.name or _name(domain.host), "destination": None}
            ),
            bucket=request.bucket,
            destination=destination,
            cutover=request.cutover,
            verification=request.verification,
            artifacts=request.artifacts,
            mode=request.mode,
            rejected=request.rejected,
            snapshots_afterwards=request.snapshots_afterwards,
            series=request.series,
            began_at=began_at,
            # Where nothing is written, nobody has to be let write.
            way="acl"
            if access and access.way == "acl" and request.mode != "restore_only"
            else "policy",
        )
        for domain, destination in zip(domains, destinations, strict=True)
    ]
    _refuse_shared(jobs)
    _refuse_too_large(jobs)
    return jobs, request.domains_at_once


def _name(host: str) -> str:
    """Makes a name from a host: `search-logs-abc.eu-west-1.es...` becomes `search-logs-abc`."""
    label = host if re.match(r"[\d.]+(:|$)", host) else host.split(".")[0]
    return re.sub(r"[^a-z0-9]+", "-", label)[:40].strip("-")


def _refuse_other_account(access_role_arn: str, snapshot_role_arn: str, name: str) -> None:
    if access_role_arn.split(":")[4] != snapshot_role_arn.split(":")[4]:
        raise ValueError(
            f"access_role_arn and {name} have to be of one account, the domain's: a role can't be "
            "passed across accounts"
        )


def _destinations(request: MigrationRequest) -> list[Destination]:
    """The destination of each domain: its own, or that of all."""
    found = [domain.destination or request.destination for domain in request.domains]
    missing = [f"domains[{number}].destination" for number, one in enumerate(found) if one is None]
    if missing:
        raise InvalidInput(
            f"{', '.join(missing)}: nothing says where the indices go; give destination, for all "
            "domains that name none themselves, or domains[].destination of each of these"
        )
    return list(filter(None, found))


def _named_destinations(request: MigrationRequest) -> dict[str, Destination]:
    """All destinations by where the input has them."""
    places = {"destination": request.destination} | {
        f"domains[{number}].destination": domain.destination
        for number, domain in enumerate(request.domains)
    }
    return {place: destination for place, destination in places.items() if destination}


def _refuse_other_buckets(request: MigrationRequest) -> None:
    """The entries of the guide's array name their bucket themselves."""
    for number, entry in enumerate(request.domains):
        if isinstance(entry, GuideDomain) and entry.s3_bucket_name != request.bucket.name:
            raise InvalidInput(
                f"domains[{number}].s3_bucket_name: {entry.s3_bucket_name!r} isn't bucket.name, "
                f"{request.bucket.name!r}; a migration goes through one bucket: start one for each"
            )


def _refuse_missing_access(request: MigrationRequest) -> None:
    """What lets the sides use the bucket needs other fields to do so."""
    access = request.bucket.access
    for place, destination in _named_destinations(request).items():
        if destination.reader_arn and not access:
            raise InvalidInput(
                f"{place}.reader_arn: nothing lets it read without bucket.access; give that, too, "
                "or let it read by the bucket's policy yourself and leave this field out"
            )
    if access and access.way == "acl":
        missing = [
            f"domains[{number}].canonical_id"
            for number, domain in enumerate(request.domains)
            if domain.canonical_id is None
        ]
        if missing:
            raise InvalidInput(
                f"{', '.join(missing)}: needed because bucket.access.way is 'acl'; it is what `aws "
                "s3api list-buckets --query Owner.ID` tells in the account of the domain"
            )


def _refuse_missing_dashboards(request: MigrationRequest) -> None:
    """A domain's Dashboards has its place, any other cluster's anywhere."""
    if "saved_objects" not in request.artifacts.include:
        return
    missing = [
        f"{place}.dashboards_endpoint"
        for place, destination in _named_destinations(request).items()
        if not destination.is_domain and destination.dashboards_endpoint is None
    ]
    if missing:
        raise InvalidInput(
            f"{', '.join(missing)}: needed because artifacts.include has saved_objects; it is "
            "where people open Dashboards, for example dashboards.example.com:5601"
        )


def _refuse_unfit_series(request: MigrationRequest) -> None:
    """A series is of snapshots alone, and runs at night, when nobody answers."""
    if request.series is None:
        return
    if request.mode != "snapshot_only":
        raise InvalidInput(
            f"series: the mode is {request.mode!r}, and only snapshots by themselves are taken "
            "again and again; give mode: snapshot_only, or leave series out"
        )
    if "plan" in request.cutover.gates:
        raise InvalidInput(
            "cutover.gates: nobody is there to approve the plan of each snapshot of a series; "
            'leave plan out, for example "cutover": {"gates": []}'
        )


def _refuse_shared(jobs: list[DomainJob]) -> None:
    """Two clusters must not share what has to be one's own."""
    destinations = {job.destination.endpoint: job.destination for job in jobs}
    for number, job in enumerate(jobs):
        if job.domain.host in destinations and job.mode != "restore_only":
            raise InvalidInput(
                f"domains[{number}].host: {job.domain.host!r} is a destination, too; give "
                "destination.endpoint another cluster"
            )
        endpoint = job.destination.endpoint
        if job.destination != destinations[endpoint]:
            raise InvalidInput(
                f"domains[{number}].destination: {endpoint!r} is named by several domains with "
                "other fields; give it the same ones everywhere, or once, as destination"
            )
    for field, values, remedy in (
        ("host", [job.domain.host for job in jobs], "name each domain once"),
        ("name", [job.domain.name for job in jobs], "give each domain a name of its own"),
        (
            "base_path",
            [job.base_path for job in jobs],
            "two clusters that write to one path destroy each other's snapshots: give each domain "
            "a base_path of its own",
        ),
    ):
        value, count = Counter(values).most_common(1)[0]
        if count > 1:
            places = [f"domains[{number}]" for number, other in enumerate(values) if other == value]
            raise InvalidInput(f"{' and '.join(places)}: the same {field} {value!r}; {remedy}")
    for path in (job.base_path for job in jobs):
        for other in (job.base_path for job in jobs):
            if other.startswith(f"{path}/"):
                raise InvalidInput(
                    f"domains: base_path {other!r} lies inside {path!r} of another domain; give "
                    "each domain a path outside the others'"
                )


def _refuse_too_large(jobs: list[DomainJob]) -> None:
    """States pass all jobs on, and each holds what the domains have in common."""
    size_bytes = len(json.dumps([job.model_dump(mode="json") for job in jobs]).encode())
    if size_bytes > LARGEST_JOBS_BYTES:
        raise InvalidInput(
            f"domains: with all that is to be known of them they take {size_bytes} bytes, and at "
            f"most {LARGEST_JOBS_BYTES} can be passed on; name fewer patterns in "
            "domains[].indices, or move the domains by several migrations, one after the other"
        )


def _contains(location: tuple[str | int, ...], other: tuple[str | int, ...]) -> bool:
    return len(location) < len(other) and other[: len(location)] == location


# In place of pydantic's words, where those are Python's and not JSON's.
_MESSAGES = {
    "missing": "this field is required",
    "tuple_type": "this has to be an array",
    "too_short": "this needs at least one item",
    "model_type": "this has to be an object",
    "dict_type": "this has to be an object",
    "string_type": "this has to be a string",
    "int_type": "this has to be a whole number",
    "bool_type": "this has to be true or false",
}


def _explain(problem: ErrorDetails) -> str:
    """Says of one problem where it is, what is wrong, and what to write instead."""
    place = ""
    model: type[_Model] | None = None
    field = None
    models: dict[str | None, type[_Model]] = {None: MigrationRequest}
    for part in problem["loc"]:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part in models:
            # In whose words an entry is shows from its fields.
            model, field, models = None, None, {None: models[part]}
        else:
            place += f".{part}"
            model = models.get(None)
            field = model.model_fields.get(part) if model else None
            models = dict(_models(field.annotation)) if field else {}
    place = place.removeprefix(".") or "input"
    if problem["type"] == "extra_forbidden" and model:
        close = difflib.get_close_matches(str(problem["loc"][-1]), model.model_fields, n=1)
        hint = (
            f"did you mean {close[0]!r}?" if close else f"known are {', '.join(model.model_fields)}"
        )
        return f"{place}: there is no such field; {hint}"
    text = _MESSAGES.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    text = text[:1].lower() + text[1:]
    if field is None:
        return f"{place}: {text}"
    expected = f"expected is {field.description}"
    if field.examples:
        expected += f", for example {json.dumps(field.examples[0])}"
    return f"{place}: {text}; {expected}"


def _models(annotation: Any, tag: str | None = None) -> Iterator[tuple[str | None, type[_Model]]]:
    """The models that a type allows, each by its tag; by None where it needs none."""
    if isinstance(annotation, type) and issubclass(annotation, _Model):
        yield tag, annotation
    parts = get_args(annotation)
    tags = [part.tag for part in parts if isinstance(part, Tag)]
    for part in parts:
        yield from _models(part, tags[0] if tags else tag)


if __name__ == "__main__":
    print(json.dumps(MigrationRequest.model_json_schema(), indent=2))
