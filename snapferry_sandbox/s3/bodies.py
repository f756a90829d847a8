"""The bodies of requests, on their way to the gateway.

Some come in AWS's own chunked encoding, `aws-chunked`, which is decoded and encoded on the fly:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

import hashlib
import hmac
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from aiohttp import web

from snapferry_sandbox.s3.errors import S3Error, not_implemented
from snapferry_sandbox.sigv4 import Verified

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
_UNSIGNED_CHUNKS = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_CHUNKED = {
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    _UNSIGNED_CHUNKS,
}
_DOCUMENT_LIMIT_BYTES = 2 * 1024 * 1024
_PIECE_BYTES = 256 * 1024
_EMPTY_HASH = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Outgoing:
    """A body for the gateway."""

    content: AsyncIterator[bytes] | bytes | None
    payload_hash: str = UNSIGNED_PAYLOAD
    """What the header `x-amz-content-sha256` says."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """That describe the content."""


class Body:
    """The body of a request, handed on as it comes in.

    Attributes:
        error: why it was broken off, once it was.

    Args:
        request: the request; nothing of its body may have been read.
        verified: its signature.

    Raises:
        S3Error: the body is in an encoding that isn't known, or its length is missing.
    """

    def __init__(self, request: web.BaseRequest, verified: Verified) -> None:
        self.error: S3Error | None = None
        self._stream = request.content
        self._length_bytes = request.content_length
        self._payload_hash = request.headers["x-amz-content-sha256"]
        self._trailer = request.headers.get("x-amz-trailer")
        self._chunks: _Chunks | None = None
        if self._payload_hash in _CHUNKED:
            length = request.headers.get("x-amz-decoded-content-length", "")
            if not length.isdecimal():
                raise _length_missing()
            self._length_bytes = int(length)
            signed = self._payload_hash != _UNSIGNED_CHUNKS
            self._chunks = _Chunks(self._stream, self._length_bytes, verified if signed else None)
        elif self._payload_hash.startswith("STREAMING-"):
            raise not_implemented(self._payload_hash)
        elif self._length_bytes is None and request.can_read_body:
            raise _length_missing()

    def outgoing(self, *, upload: bool) -> Outgoing:
        """Return the body for the gateway, which reads it from the caller.

        Args:
            upload: whether it becomes an object, or a part of one.
        """
        if self._chunks is None and not self._length_bytes:
            return Outgoing(None, self._payload_hash, {"Content-Length": "0"})
        if self._chunks is None and not (upload and self._payload_hash == UNSIGNED_PAYLOAD):
            return Outgoing(
                self._watched(self._stream.iter_any()),
                self._payload_hash,
                {"Content-Length": str(self._length_bytes)},
            )
        # Without a hash, only in chunks does the gateway see that an upload broke off: otherwise it
        # would keep what came. It checks and keeps the checksum in the trailer, too.
        trailer = {"x-amz-trailer": self._trailer} if self._trailer else {}
        return Outgoing(
            self._watched(self._in_chunks()),
            _UNSIGNED_CHUNKS,
            {
                "x-amz-decoded-content-length": str(self._length_bytes),
                # It stops reading at the trailer, and would take the rest for the next request.
                "Connection": "close",
                **trailer,
            },
        )

    async def read(self) -> bytes:
        """Read the payload as a whole, and check it.

        Raises:
            S3Error: it is too long for a document, or isn't what was signed.
        """
        document = bytearray()
        async for piece in self._payload():
            document += piece
            if len(document) > _DOCUMENT_LIMIT_BYTES:
                raise S3Error(
                    HTTPStatus.BAD_REQUEST,
                    "MaxMessageLengthExceeded",
                    "Your request was too large.",
                )
        signed = self._chunks or self._payload_hash == UNSIGNED_PAYLOAD
        if not signed and self._payload_hash != hashlib.sha256(document).hexdigest():
            raise S3Error(
                HTTPStatus.BAD_REQUEST,
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        return bytes(document)

    def _payload(self) -> AsyncIterable[bytes]:
        return self._chunks.payload() if self._chunks else self._stream.iter_any()

    async def _in_chunks(self) -> AsyncIterator[bytes]:
        chunk = bytearray()
        async for piece in self._payload():
            chunk += piece
            if len(chunk) >= _PIECE_BYTES:
                yield _framed(chunk)
                chunk.clear()
        if chunk:
            yield _framed(chunk)
        trailers = self._chunks.trailers if self._chunks else b""
        yield b"0\r\n" + trailers + b"\r\n"

    async def _watched(self, content: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        # aiohttp's client hides what its source raised behind an error of its own.
        try:
            async for piece in content:
                yield piece
        except S3Error as error:
            self.error = error
            raise


class _Chunks:
    """A chunked body; checks each chunk's signature.

    Attributes:
        trailers: the headers that follow the payload, each with its end of line.

    Args:
        stream: the body as it comes in.
        length_bytes: what the payload's length is said to be.
        verified: the request's signature; None when its chunks are not signed.
    """

    def __init__(
        self, stream: aiohttp.StreamReader, length_bytes: int, verified: Verified | None
    ) -> None:
        self._stream = stream
        self._missing_bytes = length_bytes
        self._verified = verified
        self._signature = verified.signature if verified else ""
        self._claimed_signature = ""
        self.trailers = b""

    async def payload(self) -> AsyncIterator[bytes]:
        """Yield the payload; comes to its end only if all signatures are right.

        Raises:
            S3Error: the body is malformed, or a signature is wrong.
        """
        while size := await self._begin_chunk():
            digest = hashlib.sha256()
            while size > 0:
                piece = await self._stream.read(min(size, _PIECE_BYTES))
                if not piece:
                    raise _incomplete()
                size -= len(piece)
                if self._verified:
                    digest.update(piece)
                yield piece
            self._check("AWS4-HMAC-SHA256-PAYLOAD", _EMPTY_HASH, digest.hexdigest())
            if await self._stream.readline() != b"\r\n":
                raise _incomplete()
        self._check("AWS4-HMAC-SHA256-PAYLOAD", _EMPTY_HASH, _EMPTY_HASH)
        if self._missing_bytes:
            raise _incomplete()
        await self._read_trailers()

    async def _begin_chunk(self) -> int:
        header = (await self._stream.readline()).strip().decode()
        size, _, self._claimed_signature = header.partition(";chunk-signature=")
        try:
            size_bytes = int(size, base=16)
        except ValueError as error:
            raise _incomplete() from error
        self._missing_bytes -= size_bytes
        if self._missing_bytes < 0:
            raise _incomplete()
        return size_bytes

    async def _read_trailers(self) -> None:
        lines = []
        while line := await self._stream.readline():
            name, _, value = line.strip().decode().partition(":")
            if name == "x-amz-trailer-signature":
                self._claimed_signature = value
            elif name:
                lines.append(f"{name}:{value}\n")
        if lines:
            digest = hashlib.sha256("".join(lines).encode()).hexdigest()
            self._check("AWS4-HMAC-SHA256-TRAILER", digest)
        self.trailers = "".join(lines).replace("\n", "\r\n").encode()

    def _check(self, algorithm: str, *digests: str) -> None:
        """Check that the caller signed what was just read; each signature goes into the next."""
        if self._verified is None:
            return
        self._signature = self._verified.sign(
            "\n".join(
                (
                    algorithm,
                    self._verified.timestamp,
                    self._verified.scope,
                    self._signature,
                    *digests,
                )
            )
        )
        if not hmac.compare_digest(self._signature, self._claimed_signature):
            raise S3Error(
                HTTPStatus.FORBIDDEN,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. "
                "Check your key and signing method.",
            )


def _framed(content: bytearray) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


def _length_missing() -> S3Error:
    return S3Error(
        HTTPStatus.LENGTH_REQUIRED,
        "MissingContentLength",
        "You must provide the Content-Length HTTP header.",
    )


def _incomplete() -> S3Error:
    return S3Error(
        HTTPStatus.BAD_REQUEST,
        "IncompleteBody",
        "The request body terminated unexpectedly or is not the length that was announced.",
    )
