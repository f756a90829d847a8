"""The command `sandbox`."""

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from snapferry_sandbox import deployment, world
from snapferry_sandbox.errors import SandboxError
from snapferry_sandbox.opensearch.distribution import known_versions
from snapferry_sandbox.world import Options

_console = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: those of the command line by default.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except SandboxError as error:
        _errors.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sandbox", description="AWS, two accounts and real OpenSearch clusters on this machine"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    defaults = Options()

    up = commands.add_parser("up", help="start it")
    up.add_argument(
        "--source",
        metavar="VERSION",
        choices=known_versions(),
        default=defaults.source,
        help="version of the source clusters: %(choices)s (default: %(default)s)",
    )
    up.add_argument(
        "--destination",
        metavar="VERSION",
        choices=known_versions(),
        default=defaults.destination,
        help="version of the destination clusters: %(choices)s (default: %(default)s)",
    )
    up.add_argument(
        "--destinations",
        metavar="NUMBER",
        type=_number,
        default=defaults.destinations,
        help="how many destination clusters (default: %(default)s)",
    )
    up.add_argument(
        "--destination-nodes",
        metavar="NUMBER",
        type=_number,
        default=defaults.destination_nodes,
        help="of each destination cluster (default: %(default)s)",
    )
    up.add_argument(
        "--destination-domain",
        action="store_true",
        help="have the destinations be Amazon domains, too",
    )
    up.add_argument(
        "--clusters",
        metavar="NUMBER",
        type=_number,
        default=defaults.clusters,
        help="how many source clusters (default: %(default)s)",
    )
    up.add_argument(
        "--time-scale",
        metavar="FACTOR",
        type=_time_scale,
        default=defaults.time_scale,
        help="how long a second of a state machine's waiting takes, in seconds"
        " (default: %(default)s)",
    )
    up.add_argument(
        "--node-bytes-per-second",
        metavar="BYTES",
        type=_number,
        default=defaults.node_bytes_per_second,
        help="what each node's network carries, either way (default: what the machine does)",
    )
    up.set_defaults(run=_up)

    deploy = commands.add_parser("deploy", help="deploy Snapferry's stacks to it")
    deploy.set_defaults(run=_deploy)
    status = commands.add_parser("status", help="say what runs, and where")
    status.set_defaults(run=_status)
    down = commands.add_parser("down", help="stop it")
    down.set_defaults(run=_down)
    return parser


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("one is the least")
    return number


def _time_scale(text: str) -> float:
    factor = float(text)
    if factor < 0:
        raise argparse.ArgumentTypeError("time doesn't run backwards")
    return factor


def _up(options: argparse.Namespace) -> None:
    wanted = Options(
        source=options.source,
        destination=options.destination,
        destinations=options.destinations,
        destination_nodes=options.destination_nodes,
        destination_domain=options.destination_domain,
        clusters=options.clusters,
        time_scale=options.time_scale,
        node_bytes_per_second=options.node_bytes_per_second,
    )
    world.up(wanted, _report)
    _status(options)


def _deploy(_: argparse.Namespace) -> None:
    deployment.deploy(world.load(), _report)


def _status(_: argparse.Namespace) -> None:
    present = world.load()
    table = Table("Part", "Address", "Process", "State", "Log", box=None, pad_edge=False)
    for part in world.parts():
        state = "[green]runs[/green]" if part.alive else "[red]ended[/red]"
        table.add_row(part.name, part.url, str(part.pid), state, part.log_file.name)
    _console.print(table)
    _console.print(f"Logs: {present.logs}")
    deployed = ", ".join(present.deployment.get("state_machines", {}))
    _console.print(f"Deployed: {deployed or 'nothing yet, see `sandbox deploy`'}")


def _down(_: argparse.Namespace) -> None:
    _report("The sandbox is down." if world.down() else "No sandbox was up.")


def _report(line: str) -> None:
    _console.print(line, markup=False)
