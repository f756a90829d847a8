"""Patterns of names, in which `*` stands for anything and nothing else is special."""

import re


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern stands for a name."""
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, flags=re.DOTALL))
