"""The domain's process."""

from snapferry_sandbox import fronts
from snapferry_sandbox.amazon_domain.configuration import Configuration
from snapferry_sandbox.amazon_domain.proxy import application
from snapferry_sandbox.iam_policies import Roles


def main() -> None:
    """Serve a domain until the process is ended."""
    file = fronts.configuration_file("snapferry_sandbox.amazon_domain")
    configuration = Configuration.model_validate_json(file.read_text())
    roles = Roles(configuration.aws_endpoint, configuration.account, configuration.region)
    fronts.serve(
        application(configuration, roles),
        configuration.port,
        configuration.certificate_file,
        configuration.key_file,
    )


main()
