"""The domain's process."""

from snapferry_sandbox import serving
from snapferry_sandbox.amazon_domain.configuration import Configuration
from snapferry_sandbox.amazon_domain.proxy import application
from snapferry_sandbox.iam_policies import Roles


def main() -> None:
    """Serve a domain until the process is ended."""
    configuration = serving.configuration("snapferry_sandbox.amazon_domain", Configuration)
    roles = Roles(configuration.aws_endpoint, configuration.account, configuration.region)
    serving.serve(
        application(configuration, roles),
        configuration.port,
        certificate_file=configuration.certificate_file,
        key_file=configuration.key_file,
    )


main()
