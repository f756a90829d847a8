"""Executions that are stopped end as they do on AWS, and the end of a child is seen at once."""

import datetime
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from localstack.aws.api.stepfunctions import ExecutionStatus
from localstack.aws.connect import connect_to
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task import (
    lambda_eval_utils,
)
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service.state_task_service_sfn import (  # noqa: E501
    StateTaskServiceSfn,
)
from localstack.services.stepfunctions.asl.eval.environment import Environment
from localstack.services.stepfunctions.asl.eval.program_state import ProgramStopped
from localstack.services.stepfunctions.backend.execution import Execution
from localstack.services.stepfunctions.backend.execution_worker import ExecutionWorker
from localstack.services.stepfunctions.backend.store import sfn_stores
from localstack.utils.aws.arns import parse_arn

_LOOK_EVERY_SECONDS = 0.05
type _Resolver = Callable[[], Any]
_functions = ThreadPoolExecutor(max_workers=100, thread_name_prefix="function-of-execution")


def patch() -> None:
    """Change LocalStack's interpreter."""
    _see_ends_of_children_at_once()
    _let_stopped_executions_stay_stopped()
    _stop_children_of_stopped_executions()
    _end_pending_tasks_of_stopped_executions()
    _leave_functions_of_stopped_executions_running()


def _see_ends_of_children_at_once() -> None:
    """As AWS does, which is told by an event; LocalStack asks for them twice a second.

    https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html
    """
    for name in ("_build_sync_resolver", "_build_sync2_resolver"):
        setattr(StateTaskServiceSfn, name, _awaiting_its_end(getattr(StateTaskServiceSfn, name)))


def _awaiting_its_end(build: Callable[..., _Resolver]) -> Callable[..., _Resolver]:
    def build_awaiting(service: object, env: Environment, **arguments: Any) -> _Resolver:
        arn = env.stack[-1]["ExecutionArn"]
        parts = parse_arn(arn)
        child = sfn_stores[parts["account"]][parts["region"]].executions[arn]
        resolve = build(service, env=env, **arguments)

        def resolve_at_its_end() -> Any:
            while env.is_running() and child.exec_status == ExecutionStatus.RUNNING:
                time.sleep(_LOOK_EVERY_SECONDS)
            return resolve()

        return resolve_at_its_end

    return build_awaiting


def _let_stopped_executions_stay_stopped() -> None:
    set_error = Environment.set_error

    def set_error_unless_stopped(self: Environment, error: object) -> None:
        if not isinstance(self._program_state, ProgramStopped):
            set_error(self, error)

    Environment.set_error = set_error_unless_stopped


def _stop_children_of_stopped_executions() -> None:
    """As AWS does for `startExecution.sync`, and tell why the execution was stopped.

    https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html
    """
    stop = Execution.stop

    def stop_children_too(
        self: Execution, stop_date: datetime.datetime, error: str | None, cause: str | None
    ) -> None:
        if self.exec_status != ExecutionStatus.RUNNING:
            return
        self.error, self.cause = error, cause
        stop(self, stop_date=stop_date, error=error, cause=cause)
        step_functions = connect_to(
            aws_access_key_id=self.account_id, region_name=self.region_name
        ).stepfunctions
        for event in self.exec_worker.env.event_manager.get_event_history():
            task = event.get("taskSubmittedEventDetails")
            if task and task["resource"].startswith("startExecution.sync"):
                child = json.loads(task["output"])["ExecutionArn"]
                step_functions.stop_execution(executionArn=child)

    Execution.stop = stop_children_too


def _end_pending_tasks_of_stopped_executions() -> None:
    stop = ExecutionWorker.stop

    def stop_pending_tasks_too(
        self: ExecutionWorker, stop_date: datetime.datetime, error: str | None, cause: str | None
    ) -> None:
        stop(self, stop_date=stop_date, error=error, cause=cause)
        for callback in list(self.env.callback_pool_manager._pool.values()):
            callback.interrupt_all()

    ExecutionWorker.stop = stop_pending_tasks_too


def _leave_functions_of_stopped_executions_running() -> None:
    """A stopped execution ends at once, whatever its function still does; LocalStack waits."""
    execute = lambda_eval_utils.execute_lambda_function_integration

    def execute_while_running(env: Environment, **arguments: Any) -> None:
        if env.is_running():
            executed = _functions.submit(execute, env=env, **arguments)
            while env.is_running() and not wait([executed], _LOOK_EVERY_SECONDS).done:
                pass
            if executed.done():
                executed.result()

    lambda_eval_utils.execute_lambda_function_integration = execute_while_running
