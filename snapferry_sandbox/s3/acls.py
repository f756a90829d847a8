"""A bucket's ACL, as AWS's callers put it and as the gateway takes it."""

from collections.abc import Collection, Mapping
from http import HTTPStatus
from xml.etree import ElementTree

from snapferry_sandbox.s3.errors import S3Error, not_implemented

_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_PERMISSIONS = {
    "x-amz-grant-full-control": "FULL_CONTROL",
    "x-amz-grant-read": "READ",
    "x-amz-grant-read-acp": "READ_ACP",
    "x-amz-grant-write": "WRITE",
    "x-amz-grant-write-acp": "WRITE_ACP",
}
HEADERS = {"x-amz-acl", *_PERMISSIONS}
"""All headers that say something about an ACL."""


def gateway_headers(
    headers: Mapping[str, str], document: bytes, canonical_ids: Collection[str], owner: str
) -> dict[str, str]:
    """Return the headers that set a bucket's ACL at the gateway.

    The gateway always adds full control for the owner, so that is left out.

    Args:
        headers: of the request.
        document: its body; empty when headers say it all.
        canonical_ids: of all AWS accounts.
        owner: canonical ID of the bucket's owner.

    Raises:
        S3Error: a grant is malformed, or names nobody.
    """
    if canned := headers.get("x-amz-acl"):
        return {"x-amz-acl": canned}
    grants = _in_document(document) if document else _in_headers(headers)
    if unknown := {grantee for grantee, _ in grants} - set(canonical_ids):
        raise S3Error(
            HTTPStatus.BAD_REQUEST,
            "InvalidArgument",
            "Invalid id",
            ArgumentName="CanonicalUser/ID",
            ArgumentValue=unknown.pop(),
        )
    grantees: dict[str, list[str]] = {}
    for grantee, permission in grants:
        if (grantee, permission) != (owner, "FULL_CONTROL"):
            grantees.setdefault(permission, []).append(grantee)
    if not grantees:
        return {"x-amz-acl": "private"}
    return {
        header: ",".join(grantees[permission])
        for header, permission in _PERMISSIONS.items()
        if permission in grantees
    }


def _in_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    grants = []
    for header, permission in _PERMISSIONS.items():
        for grantee in filter(None, headers.get(header, "").split(",")):
            kind, _, value = grantee.strip().partition("=")
            if kind != "id":
                raise not_implemented(f"grants to {kind}")
            grants.append((value.strip('"'), permission))
    return grants


def _in_document(document: bytes) -> list[tuple[str, str]]:
    try:
        # The parser of Python 3.13 limits the growth of entities by itself.
        policy = ElementTree.fromstring(document)  # noqa: S314
    except ElementTree.ParseError as error:
        raise _malformed() from error
    grants = []
    for grant in policy.iterfind("{*}AccessControlList/{*}Grant"):
        grantee = grant.find("{*}Grantee")
        if grantee is None:
            raise _malformed()
        if grantee.get(_TYPE) != "CanonicalUser":
            raise not_implemented(f"grants to {grantee.get(_TYPE)}")
        grants.append((grantee.findtext("{*}ID", ""), grant.findtext("{*}Permission", "")))
    if {permission for _, permission in grants} - set(_PERMISSIONS.values()):
        raise _malformed()
    return grants


def _malformed() -> S3Error:
    return S3Error(
        HTTPStatus.BAD_REQUEST,
        "MalformedACLError",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
