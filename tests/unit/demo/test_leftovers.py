from snapferry_sandbox.demo.leftovers import difference


def test_nothing_left() -> None:
    facts = {"bucket x: policy": None, "source-1: repository r": {"type": "s3"}}
    assert difference(facts, dict(facts)) == []


def test_what_came_went_and_changed() -> None:
    before = {"a": 1, "b": {"y": 1, "x": 2}, "c": "same"}
    after = {"b": {"x": 3}, "c": "same", "d": [1]}
    assert difference(before, after) == [
        "a: 1 before, absent now",
        'b: {"x": 2, "y": 1} before, {"x": 3} now',
        "d: absent before, [1] now",
    ]
