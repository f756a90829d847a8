"""What the domain's process is told at its start."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from snapferry_sandbox.identities import Identity
from snapferry_sandbox.opensearch.security import IdentityHeaders


class Configuration(BaseModel):
    """One domain and what is around it."""

    model_config = ConfigDict(frozen=True)

    name: str
    account: str
    """Number of the account that owns the domain."""
    region: str
    port: int
    """Of 127.0.0.1, where the domain listens."""
    certificate_file: Path
    key_file: Path
    node_url: str
    node_ca_file: Path
    node_identity_headers: IdentityHeaders
    node_access_key_id: str
    """Of the key with which the node reaches S3."""
    dashboards_path: str = "/_dashboards"
    """Below which the domain has its Dashboards: for Elasticsearch `/_plugin/kibana`."""
    dashboards_url: str = ""
    """Of the domain's Dashboards; it has none if left out."""
    aws_endpoint: str
    """Of LocalStack, whose IAM and STS know the callers."""
    identities: tuple[Identity, ...]
    """Keys that LocalStack doesn't know: the accounts' administrators."""
    bridge_url: str
    """Of the S3 bridge, by which the node reaches S3."""
    bridge_token: str
    internal_users: bool = False
    """Whether its access policy lets everybody in, so that internal users come by passwords."""

    @property
    def domain_arn(self) -> str:
        """The domain's ARN."""
        return f"arn:aws:es:{self.region}:{self.account}:domain/{self.name}"
