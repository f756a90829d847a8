"""The stand-in's process."""

from snapferry_sandbox import serving
from snapferry_sandbox.opensearch.stand_in import Configuration
from snapferry_sandbox.opensearch.stand_in.proxy import application


def main() -> None:
    """Serve until the process is ended."""
    configuration = serving.configuration("snapferry_sandbox.opensearch.stand_in", Configuration)
    serving.serve(
        application(configuration),
        configuration.port,
        certificate_file=configuration.certificate_file,
        key_file=configuration.key_file,
    )


main()
