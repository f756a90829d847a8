"""S3 whose objects lie with LocalStack's other files, so that worlds don't meet there."""

import tempfile
from pathlib import Path

from localstack.services.s3 import provider


def patch() -> None:
    """Change the folder, which otherwise is the same for all worlds of all users."""
    provider.DEFAULT_S3_TMP_DIR = str(Path(tempfile.gettempdir()) / "s3")
