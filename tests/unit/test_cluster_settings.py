import pytest

from snapferry.cluster_settings import ClusterSetting
from tests.unit.conftest import Side

BYTES = "indices.recovery.max_bytes_per_sec"


@pytest.mark.parametrize("scope", ["persistent", "transient"])
def test_setting_reads_as_it_was_written(destination: Side, scope: str) -> None:
    setting = ClusterSetting(destination.client, f"{scope}/{BYTES}")
    assert setting.read() is None
    setting.write("0")
    assert setting.read() == "0"
    assert destination.cluster.settings[scope] == {BYTES: "0"}
    setting.write(None)
    assert setting.read() is None
