"""Virtual environments beside .venv, for tools whose pins clash with those of .venv."""

import hashlib
import subprocess
import sys
from pathlib import Path

from snapferry_sandbox.errors import SandboxError

_CLONE = Path(__file__).parents[1]


def ensure(name: str) -> Path:
    """Create the environment, unless it stands already; return its folder.

    Args:
        name: that of the environment, and of its requirements: requirements/<name>.txt.

    Raises:
        SandboxError: the requirements can't be installed.
    """
    environment = _CLONE / ".sandbox" / "environments" / name
    requirements = _CLONE / "requirements" / f"{name}.txt"
    # Written last, so an installation that was interrupted is done again.
    stamp = environment / ".installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return environment
    _uv("venv", "--clear", "--python", sys.executable, environment)
    python = environment / "bin" / "python"
    _uv("pip", "sync", "--compile-bytecode", "--python", python, "--require-hashes", requirements)
    stamp.write_text(wanted)
    return environment


def _uv(*arguments: str | Path) -> None:
    command = [Path(sys.executable).parent / "uv", "--quiet", *arguments]
    if subprocess.run(command, check=False).returncode != 0:
        raise SandboxError(f"Failed: {' '.join(map(str, command))}")


if __name__ == "__main__":
    for environment_name in sys.argv[1:]:
        ensure(environment_name)
