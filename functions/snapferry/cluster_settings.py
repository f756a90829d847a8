"""Settings of a cluster, which a migration changes for a time."""

from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch


@dataclass(frozen=True)
class ClusterSetting:
    """A setting of the cluster, as a value that changes.

    Attributes:
        cluster: whose.
        key: `persistent/<name>` or `transient/<name>`.
    """

    cluster: OpenSearch
    key: str

    def read(self) -> Any:
        """What is set; None where the default counts."""
        scope, _, name = self.key.partition("/")
        return self.cluster.cluster.get_settings(flat_settings=True)[scope].get(name)

    def write(self, value: Any) -> None:
        """Sets it; None brings back the default."""
        scope, _, name = self.key.partition("/")
        # Amazon takes flat names only.
        self.cluster.cluster.put_settings(body={scope: {name: value}})
