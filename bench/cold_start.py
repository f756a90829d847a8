"""Measures what a cold start costs: the CPU time that each handler's import takes.

    make bench-cold-start

Each import is a process of its own with what Lambda's runtime has, in the built folder, which it
can't write to; once as it is deployed, with bytecode, and once without.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_CLONE = Path(__file__).parents[1]
_PYTHON = _CLONE / ".sandbox" / "environments" / "lambda" / "bin" / "python"
_REPETITIONS = 5


def main() -> None:
    """Print the size of the zip, and for each handler the median of both."""
    (built,) = (folder for folder in Path(sys.argv[1]).iterdir() if folder.is_dir())
    with tempfile.TemporaryDirectory() as folder:
        package = shutil.make_archive(f"{folder}/package", "zip", built)
        print(f"zip: {Path(package).stat().st_size / 1e6:.1f} MB")
        bare = Path(folder) / "bare"
        shutil.copytree(built, bare, ignore=shutil.ignore_patterns("__pycache__"))
        print("CPU seconds, with bytecode and without:")
        for file in sorted((_CLONE / "functions").glob("*.py")):
            print(f"  {file.stem:34}{_import(file.stem, built):.2f} {_import(file.stem, bare):.2f}")


def _import(module: str, folder: Path) -> float:
    return statistics.median(_import_once(module, folder) for _ in range(_REPETITIONS))


def _import_once(module: str, folder: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [_PYTHON, "-c", f"import {module}"],
        check=True,
        cwd=folder,
        env={"AWS_REGION": "eu-west-1", "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
