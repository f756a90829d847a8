"""What is deployed."""

import importlib.util
import io
import zipfile

from tests.sandbox.migrations import Sandbox

_UNCHECKED_HASH = (0b01).to_bytes(4, "little")  # PEP 552


def test_functions_have_their_bytecode(sandbox: Sandbox) -> None:
    with zipfile.ZipFile(io.BytesIO(sandbox.package("check_input"))) as package:
        modules = [name for name in package.namelist() if name.endswith(".py")]
        assert {"check_input.py", "snapferry/request.py"} <= set(modules)
        for module in modules:
            bytecode = package.read(importlib.util.cache_from_source(module))
            assert bytecode[:4] == importlib.util.MAGIC_NUMBER
            assert bytecode[4:8] == _UNCHECKED_HASH
