"""What the sandbox tells the plugin, through one environment variable."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_VARIABLE = "SNAPFERRY_LOCALSTACK_SETTINGS"


@dataclasses.dataclass(frozen=True)
class Settings:
    """The plugin's settings."""

    lambda_python: str
    """Interpreter of the environment that holds Lambda's runtime client."""
    lambda_logs: str
    """Folder for the functions' output: <function>/<execution environment>.log."""
    lambda_environment: Mapping[str, str]
    """Variables that all functions get, on top of their own."""
    buckets: Mapping[str, str]
    """Endpoints of the buckets that another S3 keeps."""
    time_scale: float
    """How long a second of a Wait state or of a Retry takes, in seconds."""
    faults: str
    """Folder that says what is to go wrong."""
    calls: str
    """File that takes who called what, a JSON object a line."""

    def to_environment(self) -> dict[str, str]:
        """Return the environment variable for LocalStack's process."""
        return {_VARIABLE: json.dumps(dataclasses.asdict(self))}

    @classmethod
    def from_environment(cls) -> Self:
        """Return the settings of the process that this runs in."""
        return cls(**json.loads(os.environ[_VARIABLE]))

    def log_file(self, function_name: str, environment_id: str) -> Path:
        """Return the file that takes the output of one execution environment."""
        return Path(self.lambda_logs) / function_name / f"{environment_id}.log"
