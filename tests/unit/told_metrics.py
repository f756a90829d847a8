"""What CloudWatch takes from a function's log."""

import json
from typing import Any

import pytest

from snapferry.metrics import NAMESPACE, UNITS


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was logged in the embedded metric format, each line as metrics by name, and whose.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    found = []
    for line in capsys.readouterr().out.splitlines():
        if not line.startswith('{"_aws"'):
            continue
        document = json.loads(line)
        [directive] = document.pop("_aws")["CloudWatchMetrics"]
        assert directive["Namespace"] == NAMESPACE
        for metric in directive["Metrics"]:
            assert metric == {"Name": metric["Name"], "Unit": UNITS[metric["Name"]].value}
            [document[metric["Name"]]] = document[metric["Name"]]
        found.append(document)
    return found
