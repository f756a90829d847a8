import json
from itertools import groupby

import pytest

from snapferry_sandbox.demo.data import INDICES, Document, documents


@pytest.fixture(scope="module")
def by_index() -> dict[str, list[Document]]:
    ordered = sorted(documents(), key=lambda document: document.index)
    return {index: list(group) for index, group in groupby(ordered, lambda each: each.index)}


def test_each_document_has_an_index(by_index: dict[str, list[Document]]) -> None:
    assert by_index.keys() == INDICES.keys() - {"cities-reported"}


def test_keys_and_ids_are_unique(by_index: dict[str, list[Document]]) -> None:
    for index, members in by_index.items():
        keys = [(each.content or {})[INDICES[index].key] for each in members]
        assert len(set(keys)) == len(members) == len({each.id for each in members})


def test_fields_are_mapped(by_index: dict[str, list[Document]]) -> None:
    for index, members in by_index.items():
        mapped = INDICES[index].mappings["properties"].keys()
        assert all((each.content or {}).keys() == mapped for each in members)


def test_names_are_grouped_by_script(by_index: dict[str, list[Document]]) -> None:
    athens = next(each for each in by_index["cities-europe"] if each.id == "264371")
    assert athens.content is not None
    assert athens.routing == "GR"
    assert athens.content["feature"] == "capital"
    assert "Atenas" in athens.content["alternate_names"]
    scripts = {group["script"]: group["names"] for group in athens.content["other_scripts"]}
    assert "Αθήνα" in scripts["greek"]
    assert "Афины" in scripts["cyrillic"]


def test_documents_are_json(by_index: dict[str, list[Document]]) -> None:
    for members in by_index.values():
        assert json.loads(json.dumps(members[0].content)) == members[0].content
