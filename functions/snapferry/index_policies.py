"""Index State Management, suspended at the source while writes are stopped.

A policy that deletes an index, rolls it over or changes its settings at that moment would undo what
is being proven. The plugin is suspended for a whole cluster only, by a setting: a policy that is
taken off an index and put on it again begins anew. At the destination it is left to people, who are
told what it will do.

Sources: https://docs.opensearch.org/latest/im-plugin/ism/settings/,
https://github.com/opensearch-project/index-management (ISMTemplateService) and
https://docs.aws.amazon.com/opensearch-service/latest/developerguide/ism.html
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices, patterns, plugins
from snapferry.cluster_settings import ClusterSetting
from snapferry.engines import Engine
from snapferry.errors import AccessDenied, NotFound, RequestRefused
from snapferry.indices import Index
from snapferry.journal import Changeable, Journal, Place, side_of

# Not that of settings in general: these are given back before the others.
_KIND = "index_policies"

CHANGEABLES: Mapping[str, Callable[[OpenSearch, str], Changeable]] = {_KIND: ClusterSetting}


def suspend(journal: Journal, source: OpenSearch, domain: str, names: Iterable[str]) -> None:
    """Has no policy act on any index of the source, if one is there that does on some of these.

    Where there is no such plugin, or it may not be suspended, it isn't: what a policy does is
    noticed as well as what clients do.

    Args:
        journal: of the migration.
        source: the domain.
        domain: its name.
        names: the indices that are moved.
    """
    with contextlib.suppress(AccessDenied, RequestRefused):
        for place in foresee(source, domain, names):
            journal.change(place, ClusterSetting(source, place.key), "false")


def resume(journal: Journal, source: OpenSearch, domain: str) -> None:
    """Has policies act again; what fails is left to the roll-back.

    Args:
        journal: of the migration.
        source: the domain.
        domain: its name.
    """
    journal.give_back(
        lambda place: ClusterSetting(source, place.key), {_KIND}, side=side_of(domain)
    )


def foresee(source: OpenSearch, domain: str, names: Iterable[str]) -> list[Place]:
    """What `suspend` will change."""
    if not _is_managed(source, names):
        return []
    prefix = "plugins" if Engine.of(source).is_opensearch else "opendistro"
    # A transient setting counts before a persistent one.
    key = f"transient/{prefix}.index_state_management.enabled"
    return [Place(side_of(domain), _KIND, key)]


def notes(destination: OpenSearch, moved: Sequence[Index]) -> list[str]:
    """Says which policies of the destination will act on indices as soon as they are restored.

    A policy takes charge of indices by the patterns of its template, unless they were created
    before it; a restored index has the age of its original.

    Args:
        destination: the cluster that takes the indices.
        moved: the indices, at their source.
    """
    policies: list[dict[str, Any]] = []
    # Where policies can't be read there are mostly none.
    with contextlib.suppress(AccessDenied, NotFound, RequestRefused):
        answer = plugins.ask_index_management(
            destination, "GET", "policies", params={"size": "1000"}
        )
        policies = answer["policies"]
    found = []
    for policy in policies:
        templates = policy["policy"].get("ism_template") or []
        # Open Distro has one at the most.
        if isinstance(templates, dict):
            templates = [templates]
        names = {
            index.name
            for template in templates
            for index in moved
            # Of an index in a snapshot nobody knows the age.
            if not 0 < index.created_at_milliseconds <= template.get("last_updated_time", 0)
            and any(patterns.matches(index.name, pattern) for pattern in template["index_patterns"])
        }
        if names:
            found.append(
                f"the destination's policy {policy['_id']} of Index State Management will take "
                f"charge of {indices.some(names)} when they are restored, and count their age from "
                "when they were created at the source. What to do where it deletes or changes old "
                "indices: take the pattern out of its ism_template until the migration has ended"
            )
    return found


def _is_managed(source: OpenSearch, names: Iterable[str]) -> bool:
    """Whether a policy acts on one of some indices."""
    for path in indices.paths(names):
        with contextlib.suppress(AccessDenied, NotFound, RequestRefused):
            explained = plugins.ask_index_management(source, "GET", f"explain/{path}")
            if any(
                isinstance(state, dict) and state.get("policy_id") and state.get("enabled")
                for state in explained.values()
            ):
                return True
    return False
