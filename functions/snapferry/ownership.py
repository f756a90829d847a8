"""Which indices at a destination are the migrations' own: restored, and not the clients' yet.

Rounds, and a migration after one that failed, restore over them. No migration touches others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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

        An index is known by its uuid. One whose restore was requested by a function that died
        before it could note the uuid is known by the time when its original was created, which a
        restore keeps.

        Args:
            present: the indices at the destination.
        """
        kept = self.records.kept(self._name, default={"uuids": {}, "announced": {}})
        uuids, announced = kept["uuids"], kept["announced"]
        return {
            name
            for name, index in present.items()
            if index.uuid == uuids.get(name) or index.created_at_milliseconds == announced.get(name)
        }

    def announce(self, owned: Mapping[str, Index], selected: Sequence[Index]) -> None:
        """Notes what is about to be restored.

        Args:
            owned: of the indices at the destination, those that are the migrations' own.
            selected: the indices in the snapshot.
        """
        self._keep(owned, {index.name: index.created_at_milliseconds for index in selected})

    def confirm(self, restored: Mapping[str, Index]) -> None:
        """Notes what has been restored, as it is at the destination now."""
        self._keep(restored, {})

    def hand_over(self) -> None:
        """Forgets everything: from now on the indices are the clients'."""
        self._keep({}, {})

    def _keep(self, owned: Mapping[str, Index], announced: Mapping[str, int]) -> None:
        uuids = {name: index.uuid for name, index in owned.items()}
        self.records.keep(self._name, {"uuids": uuids, "announced": dict(announced)})

    @property
    def _name(self) -> str:
        return f"{self.job.destination.endpoint}/{self.job.domain.host}/restored"
