"""What the bridge's process is told at its start."""

from pydantic import BaseModel, ConfigDict

from snapferry_sandbox.identities import Identity


class Account(BaseModel):
    """An AWS account."""

    model_config = ConfigDict(frozen=True)

    number: str
    """12 digits."""
    canonical_id: str
    """The account's name in ACLs: 64 hexadecimal digits."""


class Configuration(BaseModel):
    """The bridge and what is around it."""

    model_config = ConfigDict(frozen=True)

    region: str
    port: int
    """Of 127.0.0.1, where the bridge listens."""
    gateway_endpoint: str
    gateway_access_key: str
    """Of the gateway's root account."""
    gateway_secret_key: str
    aws_endpoint: str
    """Of LocalStack, whose IAM and STS know the callers."""
    identities: tuple[Identity, ...]
    """Keys that LocalStack doesn't know: the accounts' administrators, the destination's nodes.
    Those act as the role that was passed when the repository was registered, if one was."""
    service_identity: Identity
    """The key of the sources' nodes, which likewise act as passed roles. By itself it may do
    nothing."""
    control_token: str
    """Whoever presents it may say which roles were passed."""
    bucket_owner: Account
    other_accounts: tuple[Account, ...]

    @property
    def accounts(self) -> tuple[Account, ...]:
        """All AWS accounts."""
        return (self.bucket_owner, *self.other_accounts)
