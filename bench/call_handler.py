"""Calls a handler once in this process, as Lambda does, and says what that took.

    python -m bench.call_handler HANDLER < event.json

Nothing else is imported here, so that the memory is the handler's.
"""

import importlib
import json
import re
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace


def main() -> None:
    """Prints the answer, `cpu_seconds`, `seconds` and `most_bytes` as JSON."""
    event = json.load(sys.stdin)
    sys.path.insert(0, str(Path(__file__).parents[1] / "functions"))
    handler = importlib.import_module(sys.argv[1]).handler
    context = SimpleNamespace(
        function_name=sys.argv[1],
        memory_limit_in_mb=256,
        invoked_function_arn=f"arn:aws:lambda:eu-west-1:222222222222:function:{sys.argv[1]}",
        aws_request_id=str(uuid.uuid4()),
        get_remaining_time_in_millis=lambda: 900_000,
    )
    began_at, cpu_before = time.monotonic(), time.process_time()
    answer = handler(event, context)
    print(
        json.dumps(
            {
                "answer": answer,
                "cpu_seconds": time.process_time() - cpu_before,
                "seconds": time.monotonic() - began_at,
                "most_bytes": _most_bytes(),
            }
        )
    )


def _most_bytes() -> int:
    """The most memory that this process has had; `getrusage` counts that of its parent, too."""
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


if __name__ == "__main__":
    main()
