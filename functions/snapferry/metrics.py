"""What CloudWatch gets to know of migrations, for the dashboard and the alarms of the stack.

Each number is a line of the function's log, in the embedded metric format. The only dimension is
the stack, since every combination of values is a metric that is paid; whose number it is says the
line: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format.html
"""

from collections.abc import Mapping

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

NAMESPACE = "Snapferry"

UNITS: Mapping[str, MetricUnit] = {
    "SnapshotBytes": MetricUnit.Bytes,
    "SnapshotBytesReused": MetricUnit.Bytes,
    "SnapshotBytesPerSecond": MetricUnit.BytesPerSecond,
    "RestoreBytes": MetricUnit.Bytes,
    "RestoreBytesReused": MetricUnit.Bytes,
    "RestoreBytesPerSecond": MetricUnit.BytesPerSecond,
    "DocumentsCaughtUp": MetricUnit.Count,
    "OperationsBehind": MetricUnit.Count,
    "PredictedWriteStop": MetricUnit.Seconds,
    "WriteStop": MetricUnit.Seconds,
    "WriteStopBeyondPrediction": MetricUnit.Seconds,
    "DocumentsCompared": MetricUnit.Count,
    "DifferencesFound": MetricUnit.Count,
    "DomainsSucceeded": MetricUnit.Count,
    "DomainsFailed": MetricUnit.Count,
    "IncompleteRollBacks": MetricUnit.Count,
    "SweptMigrations": MetricUnit.Count,
    "SnapshotsSkipped": MetricUnit.Count,
}
"""The unit of each."""


def emit(values: Mapping[str, float], **of: str) -> None:
    """Writes numbers to the log, from which CloudWatch takes them.

    Args:
        values: the numbers, by names of `UNITS`.
        of: whose they are, such as `migration_id` and `domain`; stands beside them in the log.
    """
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    for name, value in values.items():
        metrics.add_metric(name, UNITS[name], value)
    for key, text in of.items():
        metrics.add_metadata(key, text)
    metrics.flush_metrics()
