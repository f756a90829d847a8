"""What a definition has to be at an engine that is newer, or OpenSearch instead of Elasticsearch.

Sources: https://docs.opensearch.org/latest/breaking-changes/,
https://docs.opensearch.org/latest/migrate-or-upgrade/migrating-from-open-distro/ and
https://www.elastic.co/guide/en/elasticsearch/reference/7.17/removal-of-types.html.
"""

import re
from typing import Any

# What a template's mapping holds where it isn't a type's.
_ROOT_PARAMETERS = frozenset(
    {
        "_data_stream_timestamp",
        "_field_names",
        "_meta",
        "_routing",
        "_size",
        "_source",
        "date_detection",
        "derived",
        "dynamic",
        "dynamic_date_formats",
        "dynamic_templates",
        "enabled",
        "numeric_detection",
        "properties",
    }
)
# Index settings that the destination doesn't know: by its major version, from which on.
_REMOVED_SETTINGS: tuple[tuple[str, int], ...] = (
    # Of Elasticsearch's own distribution.
    (r"index\.(lifecycle|xpack|frozen|search\.throttled)\b.*", 1),
    (r"index\.routing\.allocation\.include\._tier.*", 1),
    (r"index\.mapper\.dynamic|index\.mapping\.single_type", 1),
    (r"index\.knn\.(algo_param\..*|space_type)", 3),
)


def translate_template(template: dict[str, Any], major: int) -> tuple[dict[str, Any], list[str]]:
    """Makes a template one that the destination takes.

    Args:
        template: its `settings`, with their whole names, `mappings` and whatever else there is.
        major: version of OpenSearch at the destination.

    Returns:
        The template, and what was changed, in words.
    """
    notes: list[str] = []
    translated = dict(template)
    if "settings" in template:
        translated["settings"] = _settings(template["settings"], major, notes)
    if "mappings" in template:
        translated["mappings"] = _mappings(template["mappings"], notes)
    return translated, notes


def with_timestamp_field(template: dict[str, Any]) -> dict[str, Any]:
    """Names the field by which a template's data streams go, which some leave to the default."""
    if "data_stream" not in template:
        return template
    return template | {
        "data_stream": {"timestamp_field": {"name": "@timestamp"}} | template["data_stream"]
    }


def _settings(settings: dict[str, Any], major: int, notes: list[str]) -> dict[str, Any]:
    known = {}
    for name, value in settings.items():
        if any(
            major >= since and re.fullmatch(removed, name) for removed, since in _REMOVED_SETTINGS
        ):
            notes.append(f"without {name}, which the destination doesn't know")
            continue
        renamed = re.sub(r"^(index\.)?opendistro\.", "index.plugins.", name)
        if renamed != name:
            notes.append(f"{name} is {renamed} there")
        known[renamed] = value
    return known


def _mappings(mappings: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Takes the mapping out of its type, of which Elasticsearch 6 allows one."""
    types = mappings.keys() - {"_default_"}
    if not mappings or mappings.keys() & _ROOT_PARAMETERS or len(types) > 1:
        return mappings
    if "_default_" in mappings:
        notes.append("without the mapping _default_, which the destination doesn't know")
    if not types:
        return {}
    [name] = types
    notes.append(f"the mapping is no longer of the type {name}")
    inner: dict[str, Any] = mappings[name]
    return inner
