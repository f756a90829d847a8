"""S3's refusals.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from http import HTTPStatus
from xml.etree import ElementTree

from aiohttp import web


class S3Error(Exception):
    """A request that S3 refuses."""

    def __init__(self, status: int, code: str, message: str, **details: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.elements = {"Code": code, "Message": message, **details}

    def response(self, request: web.BaseRequest) -> web.Response:
        """Return the answer to the request."""
        error = ElementTree.Element("Error")
        for name, value in (self.elements | {"Resource": request.path}).items():
            ElementTree.SubElement(error, name).text = value
        document = ElementTree.tostring(error, "UTF-8", xml_declaration=True)
        return web.Response(status=self.status, body=document, content_type="application/xml")


def access_denied(message: str = "Access Denied") -> S3Error:
    """Return the refusal of somebody who lacks a permission."""
    return S3Error(HTTPStatus.FORBIDDEN, "AccessDenied", message)


def acl_not_supported() -> S3Error:
    """Return the refusal of an ACL in a bucket whose owner owns all objects."""
    return S3Error(
        HTTPStatus.BAD_REQUEST, "AccessControlListNotSupported", "The bucket does not allow ACLs"
    )


def malformed_policy(message: str) -> S3Error:
    """Return the refusal of a bucket policy."""
    return S3Error(HTTPStatus.BAD_REQUEST, "MalformedPolicy", message)


def not_implemented(what: str) -> S3Error:
    """Return the refusal of what AWS offers and the sandbox doesn't."""
    message = f"The sandbox doesn't implement {what}."
    return S3Error(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", message)
