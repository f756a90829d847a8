"""Lambda functions as processes of this machine: one for each execution environment.

A function runs with AWS's own runtime client, in its unzipped deployment package. It sees the
packages of that zip, boto3 as in Lambda's own runtime, and nothing else. The time-out is enforced;
memory isn't limited.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import override

from localstack import config
from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import (
    ArchiveCode,
    FunctionVersion,
    InvocationResult,
)
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

from snapferry_sandbox import processes
from snapferry_sandbox.localstack.plugin.lambda_runtime_api import (
    InitializationError,
    Invocation,
    RuntimeApi,
)
from snapferry_sandbox.localstack.plugin.settings import Settings

_POLL_SECONDS = 0.2

# To the kernel, a process dies with the thread that started it: all are started by one which
# lives as long as LocalStack does.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lambda-starter")


class ProcessExecutor(RuntimeExecutor):
    """One execution environment: a process and the runtime API that it talks to.

    An environment that failed otherwise than by the function's own error isn't used again, which
    is what LocalStack does on a `StatusErrorException`.
    """

    def __init__(self, id: str, function_version: FunctionVersion) -> None:
        super().__init__(id, function_version)
        self._settings = Settings.from_environment()
        self._name: str = function_version.id.function_name
        self._log_file = self._settings.log_file(self._name, id)

    @override
    def start(self, env_vars: Mapping[str, object]) -> None:
        code = _starter.submit(_shared, self.function_version.config.code).result()
        self._api = RuntimeApi()
        self._process = _starter.submit(
            processes.start,
            f"function {self._name}",
            # Python looks for modules in the working directory first: the unzipped package.
            [self._settings.lambda_python, "-m", "awslambdaric", str(env_vars["_HANDLER"])],
            log_file=self._log_file,
            environment={
                "PATH": os.defpath,
                "PYTHONUNBUFFERED": "1",
                # Not the home of whoever runs the sandbox, whose ~/.aws would be read.
                "HOME": tempfile.gettempdir(),
                "TMPDIR": tempfile.gettempdir(),
                **{name: str(value) for name, value in env_vars.items()},
                **self._settings.lambda_environment,
                "AWS_LAMBDA_RUNTIME_API": self._api.address,
                "LAMBDA_TASK_ROOT": str(code),
            },
            directory=code,
        ).result()
        try:
            self._wait_for(self._api.initialized, config.LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT)
        except InitializationError as error:
            raise StatusErrorException(str(error), error.payload) from error

    @override
    def invoke(self, payload: Mapping[str, str]) -> InvocationResult:
        request_id = payload["invoke-id"]
        timeout_seconds: int = self.function_version.config.timeout
        log_start = self._log_file.stat().st_size
        started_at = time.time()
        invocation = Invocation(
            request_id=request_id,
            payload=payload["payload"].encode(),
            function_arn=payload["invoked-function-arn"],
            trace_id=payload["trace-id"],
            deadline_milliseconds=int((started_at + timeout_seconds) * 1000),
        )
        self._api.invoke(invocation)
        result = self._wait_for(invocation.result, timeout_seconds, request_id)
        duration_milliseconds = (time.time() - started_at) * 1000
        with self._log_file.open("rb") as log:
            log.seek(log_start)
            output = log.read().decode(errors="replace")
        logs = (
            f"START RequestId: {request_id} Version: {self.function_version.id.qualifier}\n{output}"
            f"END RequestId: {request_id}\n"
            f"REPORT RequestId: {request_id}\tDuration: {duration_milliseconds:.2f} ms\n"
        )
        return InvocationResult(request_id, result.payload, result.is_error, logs)

    @override
    def stop(self) -> None:
        self._process.stop(timeout_seconds=0)
        self._api.close()

    @override
    def get_address(self) -> str:
        return "127.0.0.1"

    @override
    def get_endpoint_from_executor(self) -> str:
        return "127.0.0.1"

    @override
    def get_runtime_endpoint(self) -> str:
        return ""  # for LocalStack's own runtime, which isn't used

    @override
    def get_logs(self) -> str:
        return self._log_file.read_text(errors="replace")

    @classmethod
    @override
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        _starter.submit(_shared, function_version.config.code).result()

    @classmethod
    @override
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """The code's folder goes with LocalStack's other files."""

    def _wait_for[Value](
        self, future: Future[Value], timeout_seconds: float, request_id: str = ""
    ) -> Value:
        """Wait for what the process has to do.

        Raises:
            StatusErrorException: it ended, or takes too long; with the error that Lambda reports.
        """
        deadline = time.monotonic() + timeout_seconds
        while (remaining_seconds := deadline - time.monotonic()) > 0:
            try:
                return future.result(min(_POLL_SECONDS, remaining_seconds))
            except TimeoutError:
                if not self._process.alive():
                    raise _failure(
                        request_id, "Runtime.ExitError", "Runtime exited without providing a reason"
                    ) from None
        raise _failure(
            request_id, "Sandbox.Timedout", f"Task timed out after {timeout_seconds:.2f} seconds"
        )


def _shared(code: ArchiveCode) -> Path:
    """Return the folder of a deployment package that all functions with this package share.

    So it is unzipped once and not for each function. These are links to LocalStack's own files,
    which go when a function gets another package.
    """
    digest = hashlib.sha256(code.code_sha256.encode()).hexdigest()
    folder = Path(tempfile.gettempdir()) / "packages" / digest
    if not folder.exists():
        code.prepare_for_execution()
        shutil.copytree(code.get_unzipped_code_location(), folder, copy_function=os.link)
    return folder


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    """Makes it known to LocalStack."""

    name = "process"

    @override
    def load(self) -> type[ProcessExecutor]:
        return ProcessExecutor


def _failure(request_id: str, error_type: str, message: str) -> StatusErrorException:
    error = {
        "errorType": error_type,
        "errorMessage": f"RequestId: {request_id} Error: {message}",
    }
    return StatusErrorException(message, json.dumps(error).encode())
