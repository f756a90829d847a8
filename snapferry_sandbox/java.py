"""Finds a Java development kit for OpenSearch and Elasticsearch."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from snapferry_sandbox.errors import SandboxError

# Modules that a cut-down runtime leaves out and OpenSearch needs: without the locale data its
# analyzers fail to build, without the vector module its start options are refused.
_NEEDED_MODULES = {"jdk.localedata", "jdk.incubator.vector"}


def find_java_home(version: str, user: int | None = None) -> Path:
    """Return the home folder of a full JDK on which a version runs.

    Looked for in JAVA_HOME, on PATH, and where package managers and SDKMAN put JDKs.

    Args:
        version: of OpenSearch or Elasticsearch.
        user: id of the user who has to be able to run it; this process's own by default.

    Raises:
        SandboxError: there is none.
    """
    # What came before OpenSearch 3 needs the security manager, which the newest Java lacks.
    since_3 = version.startswith("3.")
    suitable, needed = (range(21, 100), "21 or newer") if since_3 else (range(17, 18), "17")
    candidates = list(dict.fromkeys(_candidates()))
    for home in candidates:
        if _is_suitable(home, suitable, user):
            return home
    raise SandboxError(
        f"Version {version} needs a full JDK {needed}. Install one, or set JAVA_HOME. "
        f"Looked at: {', '.join(map(str, candidates)) or 'nothing, there is no Java here'}."
    )


def _candidates() -> Iterator[Path]:
    if java_home := os.environ.get("JAVA_HOME"):
        yield Path(java_home)
    if java := shutil.which("java"):
        yield Path(java).resolve().parents[1]
    for folder in (Path("/usr/lib/jvm"), Path("/opt"), Path.home() / ".sdkman/candidates/java"):
        for java_file in sorted(folder.glob("*/bin/java"), reverse=True):
            yield java_file.resolve().parents[1]


def _is_suitable(home: Path, suitable: range, user: int | None) -> bool:
    try:
        listing = subprocess.run(
            [home / "bin" / "java", "--list-modules"],
            capture_output=True,
            check=True,
            text=True,
            user=user,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    versions = dict(re.findall(r"^([\w.]+)@(\d+)", listing, re.MULTILINE))
    return int(versions["java.base"]) in suitable and versions.keys() >= _NEEDED_MODULES
