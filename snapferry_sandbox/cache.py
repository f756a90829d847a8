"""Keeps what is made once on a machine: the engines, the S3 server."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


def kept(path: Path, make: Callable[[Path], Path]) -> Path:
    """Return what the cache keeps at a path; have it made if it isn't there.

    Args:
        path: of a file or folder in the folder of the cache.
        make: makes it in an empty folder that it is given, and returns where. What it raises is
            raised.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # One thing at a time: Maven's own folder bears no two downloads.
    with (path.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            # Made aside and renamed, so that what is half made is never used.
            folder = path.with_name(f"making-{path.name}")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder).rename(path)
            shutil.rmtree(folder)
    return path
