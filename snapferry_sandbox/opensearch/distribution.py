"""Assembles OpenSearch and Elasticsearch from what is published on Maven Central.

A version is a folder in `distributions/`: a Maven project that names the artifacts, the sums of all
files it brings, and a folder for each plugin that is published as a bare jar, with what its archive
would add. Of most versions no plugin is published: they come without.
"""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Literal

from snapferry_sandbox import processes
from snapferry_sandbox.cache import kept
from snapferry_sandbox.errors import SandboxError

_DISTRIBUTIONS = Path(__file__).parent / "distributions"

logger = logging.getLogger(__name__)


def known_versions() -> list[str]:
    """Return the versions that can be assembled, the oldest first."""
    return sorted(
        (folder.name for folder in _DISTRIBUTIONS.iterdir()),
        key=lambda version: (product(version), *map(int, version.split("."))),
    )


def product(version: str) -> Literal["elasticsearch", "opensearch"]:
    """Return what a version is one of; OpenSearch began anew with 1."""
    return "elasticsearch" if version.startswith(("6.", "7.")) else "opensearch"


def has_plugins(version: str) -> bool:
    """Return whether a version comes with the security plugin and that for S3 repositories."""
    return (_DISTRIBUTIONS / version / "repository-s3").exists()


def assemble(version: str, cache: Path) -> Path:
    """Return the home folder of a version; download and assemble it if it isn't there.

    Args:
        version: one of `known_versions`.
        cache: folder that keeps assembled homes.

    Raises:
        SandboxError: Maven is missing or fails, or a file isn't the expected one.
    """
    name = f"{product(version)}-{version}"

    def make(folder: Path) -> Path:
        logger.info("%s: downloading from Maven Central, once", name)
        _download(_DISTRIBUTIONS / version, folder / "downloads")
        logger.info("%s: assembling", name)
        home = folder / "home"
        _unpack(version, folder / "downloads", home)
        return home

    return kept(cache / name, make)


def _download(distribution: Path, downloads: Path) -> None:
    processes.run(
        "Maven",
        [
            "mvn",
            "--batch-mode",
            "--no-transfer-progress",
            f"--file={distribution / 'pom.xml'}",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={downloads}",
        ],
        log_file=downloads.parent / "maven.log",
    )
    for line in (distribution / "sha256sums").read_text().splitlines():
        expected, name = line.split()
        with (downloads / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise SandboxError(f"{name} from Maven Central isn't the expected file.")


def _unpack(version: str, downloads: Path, home: Path) -> None:
    name = f"{product(version)}-{version}"
    shutil.unpack_archive(downloads / f"{name}.zip", home.parent)
    (home.parent / name).rename(home)
    for program in (home / "bin").iterdir():
        program.chmod(0o755)  # zipfile leaves the permissions out
    (home / "plugins").mkdir(exist_ok=True)
    if has_plugins(version):
        _add_plugins(version, downloads, home)


def _add_plugins(version: str, downloads: Path, home: Path) -> None:
    security = home / "plugins" / "opensearch-security"
    (security_archive,) = downloads.glob("opensearch-security-*.zip")
    shutil.unpack_archive(security_archive, security)
    _state_version(security / "plugin-descriptor.properties", version)

    s3 = home / "plugins" / "repository-s3"
    shutil.copytree(_DISTRIBUTIONS / version / "repository-s3", s3)
    for jar in downloads.glob("*.jar"):
        shutil.copy(jar, s3)

    for jar in (home / "plugins").glob("*/*.jar"):
        if (home / "lib" / jar.name).exists():
            jar.unlink()  # a class that is there twice stops the node


def _state_version(descriptor: Path, version: str) -> None:
    """State the OpenSearch a plugin is loaded into as the one it was made for."""
    lines = descriptor.read_text().splitlines()
    changed = [
        f"opensearch.version={version}" if line.startswith("opensearch.version=") else line
        for line in lines
    ]
    descriptor.write_text("\n".join(changed) + "\n")
