"""Which indices at a destination are the migrations' own: restored, and not the clients' yet.

Rounds, and a migration after one that failed, restore over them. No migration touches others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.indices import Index
from snapferry.records import Records
from snapferry.request import DomainJob


@dataclass(frozen=True)
class Ownership:
    """What was restored from one domain to one destination.

    Attributes:
        records: where it is kept from one migration to the next.
        job: whose domain and destination.
    """

    records: Records
    job: DomainJob

    def of(self, present: Mapping[str, Index]) -> set[str]:
        """The names of those indices that are the migrations' own.

        An index is known by its uuid.

        Args:
            present: the indices at the destination.
        """
        return _noted(self._kept, present)

    def find(self, destination: OpenSearch, present: Mapping[str, Index]) -> set[str]:
        """Those that `of` names, and those whose restore a function requested that died then.

        Such an index is known by the repository that it was restored from, which is of one
        migration: people may have restored one of the same name since.

        Args:
            destination: the cluster.
            present: its indices.
        """
        kept = self._kept
        owned, announced = _noted(kept, present), kept["announced"]
        sources = indices.restored_from(destination, announced.keys() & present.keys() - owned)
        return owned | {
            name
            for name, found in sources.items()
            if announced[name] in {repository for repository, _ in found}
        }

    def unseen(self, destination: OpenSearch, present: Mapping[str, Index]) -> set[str]:
        """Those that are there since their restore was announced, and don't show yet by whom.

        A cluster makes indices first, and then begins to recover their shards.

        Args:
            destination: the cluster.
            present: its indices.
        """
        announced = self._kept["announced"].keys() & present.keys() - self.of(present)
        return announced - indices.restored_from(destination, announced).keys()

    def announce(self, owned: Mapping[str, Index], names: Iterable[str]) -> None:
        """Notes what is about to be restored.

        Args:
            owned: of the indices at the destination, those that are the migrations' own.
            names: the indices in the snapshot.
        """
        self._keep(owned, dict.fromkeys(names, self.job.repository))

    def confirm(self, restored: Mapping[str, Index]) -> None:
        """Notes what has been restored, as it is at the destination now."""
        self._keep(restored, {})

    def hand_over(self) -> None:
        """Forgets all that the input stands for: from now on these indices are the clients'."""
        kept = {
            kind: {
                name: value
                for name, value in noted.items()
                if not indices.is_wanted(name, self.job.domain.indices)
            }
            for kind, noted in self._kept.items()
        }
        self.records.keep(self._name, kept)

    def _keep(self, owned: Mapping[str, Index], announced: Mapping[str, str]) -> None:
        uuids = {name: index.uuid for name, index in owned.items()}
        self.records.keep(self._name, {"uuids": uuids, "announced": dict(announced)})

    @property
    def _kept(self) -> dict[str, dict[str, str]]:
        kept: dict[str, dict[str, str]] = self.records.kept(
            self._name, default={"uuids": {}, "announced": {}}
        )
        return kept

    @property
    def _name(self) -> str:
        return f"{self.job.destination.endpoint}/{self.job.domain.host}/restored"


def _noted(kept: Mapping[str, Mapping[str, str]], present: Mapping[str, Index]) -> set[str]:
    """The names of the indices whose uuids were noted."""
    uuids = kept["uuids"]
    return {name for name, index in present.items() if index.uuid == uuids.get(name)}
