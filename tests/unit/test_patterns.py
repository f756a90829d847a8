import pytest

from snapferry import patterns


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("orders", "orders", True),
        ("orders", "orders-1", False),
        ("*", "", True),
        ("logs-*", "logs-", True),
        ("logs-*", "logs-2026.11", True),
        ("*-1", "logs-1", True),
        ("l*s-*1", "logs-1", True),
        ("l*s-*1", "logs-12", False),
        ("a[1]", "a[1]", True),
        ("a[1]", "a1", False),
        ("a?", "a?", True),
        ("a?", "ab", False),
        ("a.b", "a-b", False),
        ("a*", "a\nb", True),
    ],
)
def test_a_star_stands_for_anything_and_nothing_else_is_special(
    pattern: str, name: str, matches: bool
) -> None:
    assert patterns.matches(name, pattern) is matches
