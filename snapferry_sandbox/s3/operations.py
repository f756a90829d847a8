"""What an S3 request wants: bucket, key, and the IAM actions it needs.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from snapferry_sandbox.s3 import acls
from snapferry_sandbox.s3.errors import not_implemented

_BUCKET_ACTIONS = {
    ("GET", ""): "ListBucket",
    ("HEAD", ""): "ListBucket",
    ("PUT", ""): "CreateBucket",
    ("DELETE", ""): "DeleteBucket",
    ("GET", "acl"): "GetBucketAcl",
    ("PUT", "acl"): "PutBucketAcl",
    ("POST", "delete"): "DeleteObject",
    ("GET", "encryption"): "GetEncryptionConfiguration",
    ("GET", "lifecycle"): "GetLifecycleConfiguration",
    ("PUT", "lifecycle"): "PutLifecycleConfiguration",
    ("DELETE", "lifecycle"): "PutLifecycleConfiguration",
    ("GET", "location"): "GetBucketLocation",
    ("GET", "ownershipControls"): "GetBucketOwnershipControls",
    ("PUT", "ownershipControls"): "PutBucketOwnershipControls",
    ("DELETE", "ownershipControls"): "PutBucketOwnershipControls",
    ("GET", "policy"): "GetBucketPolicy",
    ("PUT", "policy"): "PutBucketPolicy",
    ("DELETE", "policy"): "DeleteBucketPolicy",
    ("GET", "policyStatus"): "GetBucketPolicyStatus",
    ("GET", "publicAccessBlock"): "GetBucketPublicAccessBlock",
    ("PUT", "publicAccessBlock"): "PutBucketPublicAccessBlock",
    ("GET", "tagging"): "GetBucketTagging",
    ("PUT", "tagging"): "PutBucketTagging",
    ("GET", "uploads"): "ListBucketMultipartUploads",
    ("GET", "versioning"): "GetBucketVersioning",
    ("GET", "versions"): "ListBucketVersions",
}
_OBJECT_ACTIONS = {
    ("GET", ""): "GetObject",
    ("HEAD", ""): "GetObject",
    ("PUT", ""): "PutObject",
    ("DELETE", ""): "DeleteObject",
    ("GET", "acl"): "GetObjectAcl",
    ("PUT", "acl"): "PutObjectAcl",
    ("GET", "attributes"): "GetObjectAttributes",
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "tagging"): "PutObjectTagging",
    ("GET", "uploadId"): "ListMultipartUploadParts",
    ("PUT", "uploadId"): "PutObject",
    ("POST", "uploadId"): "PutObject",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("POST", "uploads"): "PutObject",
}
_SUBRESOURCES = {name for _, name in _BUCKET_ACTIONS | _OBJECT_ACTIONS} - {""}
_CHANGE_BUCKET = {
    "s3:CreateBucket",
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketAcl",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
}
_CONDITION_PARAMETERS = ("prefix", "delimiter", "max-keys")


@dataclass(frozen=True)
class Operation:
    """A request, by its method, path and query."""

    method: str
    bucket: str
    """Empty for the list of buckets."""
    key: str
    subresource: str
    """Such as `policy`; empty for the bucket or object itself."""
    action: str
    """The IAM action it is."""
    unenforced_actions: tuple[str, ...]
    """Further actions that it needs, and the gateway doesn't ask for."""
    context: dict[str, str]
    """IAM condition keys and their values."""

    @property
    def actions(self) -> tuple[str, ...]:
        """All IAM actions that the caller needs."""
        return (self.action, *self.unenforced_actions)

    @property
    def changes_bucket(self) -> bool:
        """Whether the request changes who may do what in the bucket."""
        return self.action in _CHANGE_BUCKET

    @property
    def deletes_many(self) -> bool:
        """Whether the request names the objects that it deletes in its body."""
        return self.subresource == "delete"

    @property
    def writes_object(self) -> bool:
        """Whether the request makes an object: an upload, or the beginning of one in parts."""
        return self.action == "s3:PutObject" and self.subresource != "uploadId"

    @property
    def uploads(self) -> bool:
        """Whether the request's body becomes an object, or a part of one."""
        return self.action == "s3:PutObject" and self.method == "PUT"

    @property
    def reads_object(self) -> bool:
        """Whether the request tells of an object's content."""
        return self.action in {"s3:GetObject", "s3:GetObjectAttributes"}

    def resource(self, key: str) -> str:
        """Return the ARN of the bucket, or of an object in it."""
        return f"arn:aws:s3:::{self.bucket}/{key}" if key else f"arn:aws:s3:::{self.bucket}"


def operation(request: web.BaseRequest) -> Operation:
    """Return what a request wants.

    Raises:
        S3Error: it is something that the sandbox doesn't offer.
    """
    path, _, query = request.raw_path.partition("?")
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    subresource = next((name for name in parameters if name in _SUBRESOURCES), "")
    if not bucket:
        action = "ListAllMyBuckets" if request.method == "GET" else None
    else:
        actions = _OBJECT_ACTIONS if key else _BUCKET_ACTIONS
        action = actions.get((request.method, subresource))
    if action is None:
        raise not_implemented(f"{request.method} {path}?{subresource}")
    sets_acl = action == "PutObject" and any(name in request.headers for name in acls.HEADERS)
    context = {"aws:SecureTransport": "false"}
    for name in _CONDITION_PARAMETERS:
        if name in parameters:
            context[f"s3:{name}"] = parameters[name]
    if acl := request.headers.get("x-amz-acl"):
        context["s3:x-amz-acl"] = acl
    return Operation(
        method=request.method,
        bucket=bucket,
        key=key,
        subresource=subresource,
        action=f"s3:{action}",
        unenforced_actions=("s3:PutObjectAcl",) if sets_acl else (),
        context=context,
    )
