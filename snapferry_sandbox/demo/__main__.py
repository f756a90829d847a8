"""`python -m snapferry_sandbox.demo`: a migration from nothing to its proof.

Real cities are loaded into a source cluster, the stacks are deployed, and the migration is started
while a client writes. The client stops and moves when the gates ask for it. Then everything is
compared, and everything is stopped, however this ends.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from rich.console import Console

from snapferry_cli.display import ProgressDisplay
from snapferry_cli.migration import Migration
from snapferry_sandbox import deployment, world
from snapferry_sandbox.demo import data, execution, leftovers, result
from snapferry_sandbox.demo.comparison import compare_clusters
from snapferry_sandbox.demo.operator import Operator, measure_write_stop
from snapferry_sandbox.demo.result import Documents, Result
from snapferry_sandbox.demo.writer import Writer
from snapferry_sandbox.errors import SandboxError
from snapferry_sandbox.world import LOGS, Options, write_atomically

_OPERATIONS_PER_SECOND = 200
_WRITES_GO_ON_SECONDS = 3
_LOOK_SECONDS = 0.1

_console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo; return 0 only if the copy is proven to be right."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for file in (result.FILE, result.PAGE):
        file.unlink(missing_ok=True)
    try:
        outcome = run()
    except SandboxError as error:
        _console.print(f"{error}\nThe logs are in {LOGS}.", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    outcome.save()
    outcome.show(_console)
    _console.print(f"[bold]{outcome.status}[/bold], see {result.FILE} and {result.PAGE}")
    return 0 if outcome.status == "SUCCEEDED" else 1


def run() -> Result:
    """Migrate, compare, and stop everything.

    Raises:
        SandboxError: the sandbox or the migration failed.
    """
    started = time.monotonic()
    seconds: dict[str, float] = {}
    # The loader is waited for after the sandbox has gone down, which ends it too.
    with (
        ThreadPoolExecutor(1, thread_name_prefix="loader") as threads,
        contextlib.ExitStack() as up,
    ):
        with _phase("sandbox", "Two clusters, S3 and AWS, for two accounts", seconds):
            present = up.enter_context(world.running(Options(), _report))
        source = present.sources[0].client()
        destination = present.destinations[0].client()

        with _phase("prepare", "Load the cities of the world, deploy Snapferry", seconds):
            for cluster in (source, destination):
                data.remove(cluster)
            loading = threads.submit(data.load, source)
            present = deployment.deploy(present, _report)
            loaded = loading.result()
            _report(f"{loaded.documents:,} documents in {len(data.INDICES)} indices")
        before = leftovers.look(present)

        with Writer(loaded.cities, _OPERATIONS_PER_SECOND) as writer:
            with _phase("migrate", "Migrate while a client writes", seconds):
                operator = Operator(writer, writer.start(source), destination, _report)
                migration_id = f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}"
                moving = execution.start(present, migration_id, data.INDICES)
                _follow(moving.migration, operator)
            time.sleep(_WRITES_GO_ON_SECONDS)
            writer.stop()

        with _phase("compare", "Compare every document, and what else was there", seconds):
            here, there = operator.ledgers()
            comparisons = compare_clusters(
                source,
                destination,
                {name: index.key for name, index in data.INDICES.items()},
                here,
                there,
            )
            left_over = leftovers.difference(before, leftovers.look(present))
            write_atomically(result.PAGE, moving.report_page())
        return result.summarize(
            migration_id,
            moving.report(),
            comparisons,
            measure_write_stop(here, there, operator.answered),
            Documents(source=here.accepted, destination=there.accepted),
            moving.state_transitions(),
            left_over,
            seconds,
            time.monotonic() - started,
        )


def _follow(migration: Migration, operator: Operator) -> None:
    with ProgressDisplay(_console) as display:
        while (look := migration.look()).status == "RUNNING":
            operator.answer_gates(migration, look.open_gates)
            display.show(look.domains)
            time.sleep(_LOOK_SECONDS)
        display.show(look.domains)
    if look.status != "SUCCEEDED":
        raise SandboxError(f"The migration failed. {look.error or look.status}: {look.cause}")


@contextlib.contextmanager
def _phase(name: str, title: str, seconds: dict[str, float]) -> Iterator[None]:
    """Announce a part of the demo, and note how long it took."""
    _console.print(f"[bold]{title}[/bold]")
    started = time.monotonic()
    yield
    seconds[name] = time.monotonic() - started
    _report(f"{seconds[name]:.0f} s")


def _report(line: str) -> None:
    _console.print(f"  {line}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
