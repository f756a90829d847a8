"""A node's connection to the network: as slow as is wanted, where a machine's own has no limits.

Relays stand before the node's HTTP port and between the node and S3. What passes them in one
direction shares a bandwidth, whoever sends it, as on a link of full duplex.
"""

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from sys import executable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from snapferry_sandbox import processes
from snapferry_sandbox.processes import Process
from snapferry_sandbox.world import RUN

_START_SECONDS = 30
# Short pieces take turns: a small request doesn't wait long behind large ones.
_PIECE_BYTES = 32 * 1024
# So much of what wasn't used may be used later, or waking up late would make a connection slower.
_CREDIT_SECONDS = 0.1
_LIFTED = RUN / "network-lifted"


class Relay(BaseModel):
    """A port that stands for another one.

    Attributes:
        port: of 127.0.0.1, where it listens.
        target: of 127.0.0.1, to which it passes everything on.
        caller: who connects, the node or others to the node.
    """

    model_config = ConfigDict(frozen=True)

    port: int
    target: int
    caller: Literal["node", "others"]


class Connection(BaseModel):
    """A node's connection.

    Attributes:
        bytes_per_second: what it carries in each direction.
        relays: through which the node's traffic goes.
    """

    model_config = ConfigDict(frozen=True)

    bytes_per_second: int
    relays: tuple[Relay, ...]


class Direction:
    """What a connection carries one way, piece by piece in the order of their coming.

    Args:
        bytes_per_second: at most.
    """

    def __init__(self, bytes_per_second: int) -> None:
        self._bytes_per_second = bytes_per_second
        self._free_at = 0.0

    def delay_seconds(self, size_bytes: int, now: float) -> float:
        """Take a piece; return how long it is until it has passed.

        Args:
            size_bytes: of the piece.
            now: in seconds of a clock that never goes back.
        """
        begins_at = max(self._free_at, now - _CREDIT_SECONDS)
        self._free_at = begins_at + size_bytes / self._bytes_per_second
        return max(0.0, self._free_at - now)


def start(name: str, connection: Connection, *, log_file: Path) -> Process:
    """Start the relays of a node's connection, and wait until they listen.

    Args:
        name: of the node.
        connection: the node's.
        log_file: takes what the relays log.

    Raises:
        SandboxError: they don't start.
    """
    process = processes.start(
        f"network of {name}",
        [executable, "-m", __name__, connection.model_dump_json()],
        log_file=log_file,
    )

    def listen() -> bool:
        return all(processes.listens(relay.port) for relay in connection.relays)

    processes.wait_until(listen, process, _START_SECONDS)
    return process


@contextlib.contextmanager
def lifted() -> Iterator[None]:
    """Have the connections of all nodes carry as much as the machine does for a while."""
    _LIFTED.touch()
    try:
        yield
    finally:
        _LIFTED.unlink()


async def serve(connection: Connection) -> None:
    """Relay until this is cancelled."""
    to_node, from_node = (Direction(connection.bytes_per_second) for _ in range(2))
    async with contextlib.AsyncExitStack() as stack:
        for relay in connection.relays:
            there, back = (from_node, to_node) if relay.caller == "node" else (to_node, from_node)
            await stack.enter_async_context(_listening(relay, there, back))
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def _listening(relay: Relay, there: Direction, back: Direction) -> AsyncIterator[None]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", relay.target)
            with contextlib.closing(target_writer):
                await asyncio.gather(
                    _pass_on(reader, target_writer, there), _pass_on(target_reader, writer, back)
                )

    async with await asyncio.start_server(connected, "127.0.0.1", relay.port):
        yield


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
) -> None:
    try:
        while piece := await reader.read(_PIECE_BYTES):
            if not _LIFTED.exists():
                await asyncio.sleep(direction.delay_seconds(len(piece), time.monotonic()))
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except ConnectionError:  # one of both has gone; the other has to know
        writer.close()


def main() -> None:
    """Relay until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m snapferry_sandbox.network")
    parser.add_argument("connection", help="the node's, as JSON")
    connection = Connection.model_validate_json(parser.parse_args().connection)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(connection))


if __name__ == "__main__":
    main()
