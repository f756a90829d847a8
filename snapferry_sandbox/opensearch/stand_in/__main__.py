"""The stand-in's process."""

from snapferry_sandbox import fronts
from snapferry_sandbox.opensearch.stand_in import Configuration
from snapferry_sandbox.opensearch.stand_in.proxy import application


def main() -> None:
    """Serve until the process is ended."""
    file = fronts.configuration_file("snapferry_sandbox.opensearch.stand_in")
    configuration = Configuration.model_validate_json(file.read_text())
    fronts.serve(
        application(configuration),
        configuration.port,
        configuration.certificate_file,
        configuration.key_file,
    )


main()
