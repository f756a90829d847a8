import pytest

from snapferry.engines import Engine


@pytest.mark.parametrize(
    ("engine", "asks"),
    [
        (Engine(False, (6, 8)), False),
        (Engine(False, (7, 4)), False),
        (Engine(False, (7, 7)), True),
        (Engine(False, (7, 10)), True),
        (Engine(True, (1, 3)), True),
        (Engine(True, (3, 6)), True),
    ],
)
def test_hidden_indices_are_asked_for_where_there_are_any(engine: Engine, asks: bool) -> None:
    assert ("expand_wildcards" in engine.listing_parameters) == asks
