"""A log of the calls of AWS that roles make, to be held against what they may do."""

import json
import threading
from pathlib import Path

from localstack.aws import handlers
from localstack.aws.api import RequestContext
from localstack.aws.chain import HandlerChain
from localstack.http import Response
from localstack.utils.aws.request_context import extract_access_key_id_from_auth_header

from snapferry_sandbox.localstack.plugin.identities import find_session


def log(file: Path) -> None:
    """Have each call of a role's session written to a file, a JSON object a line.

    Args:
        file: takes `role` (its ARN), `service`, `operation` and `request`.
    """
    lock = threading.Lock()

    def note(_: HandlerChain, context: RequestContext, __: Response) -> None:
        key = extract_access_key_id_from_auth_header(context.request.headers)
        caller = find_session(key) if key else None
        if caller and context.service and context.operation:
            call = {
                "role": caller.role_arn,
                "service": context.service.service_name,
                "operation": context.operation.name,
                "request": context.service_request,
            }
            line = json.dumps(call, default=lambda _: "...")
            with lock, file.open("a") as calls:
                calls.write(line + "\n")

    handlers.serve_custom_service_request_handlers.append(note)
