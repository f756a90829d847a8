"""The clients that functions keep for the life of their environment."""

from snapferry import clients


def forget() -> None:
    """Has all of them made anew: they belong to the environment in which they were made."""
    for kept in vars(clients).values():
        if getattr(kept, "__module__", "") == clients.__name__ and hasattr(kept, "cache_clear"):
            kept.cache_clear()
