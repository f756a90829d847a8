"""The stand-in's process."""

from snapferry_sandbox import serving
from snapferry_sandbox.dashboards import Configuration
from snapferry_sandbox.dashboards.server import application


def main() -> None:
    """Serve until the process is ended."""
    configuration = serving.configuration("snapferry_sandbox.dashboards", Configuration)
    serving.serve(
        application(configuration),
        configuration.port,
        certificate_file=configuration.certificate_file,
        key_file=configuration.key_file,
    )


main()
