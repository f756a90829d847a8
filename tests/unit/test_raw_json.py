import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapferry import raw_json

names = st.just("_source") | st.text().filter(lambda name: name != "_id")
without_identities = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"a": 1.0, "b": 1}',
        '{"a": 123456789012345678901234567890.123456789012345678901234567890}',
        '{"a": 1e400, "b": -0.0, "c": -0, "d": 1E-7}',
        '{"a": 1, "a": 2}',
        '{"a": {"_id": "x", "_source": {"b": 1.10}}}',
        '{\n  "a" : [ 1 ,\t2 ]\r\n}',
        '{"é": "\\ud83e", "b": "\\"_source\\": {"}',
    ],
)
def test_a_document_stays_its_text(text: str) -> None:
    answer = f'{{"hits": {{"hits": [ {{"_id": "1", "_source": {text} , "sort": [3]}} ]}}}}'
    [hit] = raw_json.loads(answer)["hits"]["hits"]
    assert hit == {"_id": "1", "_source": text, "sort": [3]}


@given(answer=without_identities, source=without_identities, indent=st.sampled_from([None, 1]))
def test_everything_else_is_parsed(answer: Any, source: Any, indent: int | None) -> None:
    text = json.dumps(source, indent=indent)
    whole = f'[{json.dumps(answer, indent=indent)}, {{"_source":{text},"_id":"1"}}]'
    assert raw_json.loads(whole) == [answer, {"_source": text, "_id": "1"}]


def test_a_mapping_is_parsed() -> None:
    mapping = {"logs": {"mappings": {"_source": {"enabled": False}}}}
    assert raw_json.loads(json.dumps(mapping)) == mapping


@pytest.mark.parametrize(
    "text",
    [
        '{"_id": "1", "_source": {} ',
        '{"_id": "1", "_source": }',
        '{"_id": "1", "_source": {"a" 1}}',
        '{"_id" "1", "_source": {}}',
        '{"_id": "1" "_source": {}}',
        '{"_id": "1", "_source": {}} x',
        '[{"_id": "1", "_source": {}} {}]',
        '{"_id": "1", "_source": {}, 1: 2}',
    ],
)
def test_what_is_not_json_fails(text: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        raw_json.loads(text)
