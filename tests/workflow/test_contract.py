"""Holds together what the definitions, the template, the handlers and the events say of each other.

One verb and noun name a handler, its function in the template, its state and its event. Whatever
is named in one place has to be there in the others, and nothing has to be there unnamed.
"""

import ast
import graphlib
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]

from snapferry import clients, errors, metrics
from snapferry.cutover import base, slices, steps
from snapferry.verification import copy, documents
from snapferry_cli.main import parser
from snapferry_sandbox.iam_policies import Decision, evaluate
from tests.unit.templates import resolved

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"
TEMPLATE: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
HANDLERS = sorted(path.stem for path in FUNCTIONS.glob("*.py"))
PACKAGE = FUNCTIONS / "snapferry"
# Each by its name inside the package: a package in it has that of its folder.
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
DEFINITIONS: dict[str, dict[str, Any]] = {
    path.name.removesuffix(".asl.json"): json.loads(path.read_text())
    for path in sorted((ROOT / "statemachine").glob("*.asl.json"))
}

INVOKE = "arn:${Partition}:states:::lambda:invoke"
INVOKE_AND_WAIT = "arn:${Partition}:states:::lambda:invoke.waitForTaskToken"
START_EXECUTION = "arn:${Partition}:states:::states:startExecution.sync:2"

# States that aren't named after their handler, because it has several.
STATES_OF_SHARED_HANDLERS = {
    "catch_up": {"Catch up", "Catch up slice"},
    "copy_artifacts": {"Copy artifacts", "Attach policies"},
    "let_source_write": {"Let source write", "Let source delete"},
    "cut_over": {
        "Weigh another round",
        "Begin catch up",
        "Look for new indices",
        "Check window",
        "Freeze source",
        "Catch up last",
        "Verify copy",
        "Return source to service",
        "Unblock source",
        "Hand over indices",
        "Move aliases",
        "Look for late indices",
    },
    "announce_gate": {
        "Wait until plan is approved",
        "Wait until writes stop",
        "Wait until clients moved",
    },
    "verify_documents": {"Verify restored documents", "Verify documents"},
    "report_leftovers": {"Report leftovers", "Report kept changes"},
}
# Handlers that a schedule starts; they belong to no state machine.
SCHEDULED = {"sweep_leases"}


def scopes(definition: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A state machine, and each processor and branch inside it: what has states of its own."""
    yield definition
    for state in definition["States"].values():
        if "ItemProcessor" in state:
            yield from scopes(state["ItemProcessor"])
        for branch in state.get("Branches", []):
            yield from scopes(branch)


@dataclass(frozen=True)
class State:
    """A state of a state machine, or of a processor inside it."""

    machine: str
    name: str
    definition: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.machine}: {self.name}"

    @property
    def handler(self) -> str:
        """What an invocation invokes: `CheckInputFunctionArn` is `check_input`."""
        name = substituted(self.definition["Arguments"]["FunctionName"])
        return re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("FunctionArn")).lower()


STATES = [
    State(machine, name, definition)
    for machine, whole in DEFINITIONS.items()
    for scope in scopes(whole)
    for name, definition in scope["States"].items()
]


def of_type(kind: str) -> list[State]:
    return [state for state in STATES if state.definition["Type"] == kind]


TASKS = of_type("Task")
INVOCATIONS = [task for task in TASKS if task.definition["Resource"] in (INVOKE, INVOKE_AND_WAIT)]


def camel_case(words: str) -> str:
    return "".join(word.capitalize() for word in re.split("[_ ]", words))


def substituted(text: str) -> str:
    """The name inside `${...}`."""
    match = re.fullmatch(r"\$\{(\w+)\}", text)
    assert match, f"{text} is no substitution"
    return match[1]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def plain(value: Any) -> str:
    """A value of the template, to be compared."""
    return json.dumps(value, sort_keys=True)


# The definitions by themselves


@pytest.mark.parametrize("machine", DEFINITIONS)
def test_a_definition_is_jsonata_with_a_comment_and_a_time_limit(machine: str) -> None:
    definition = DEFINITIONS[machine]

    assert definition["QueryLanguage"] == "JSONata"
    assert definition["Comment"]
    assert definition["TimeoutSeconds"] > 0


@pytest.mark.parametrize("state", TASKS, ids=str)
def test_a_task_says_why_and_ends_and_repeats_and_catches(state: State) -> None:
    assert state.definition["Comment"]
    assert state.definition["TimeoutSeconds"]
    assert state.definition["Retry"]
    assert state.definition["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
    assert state.definition["Resource"] in (INVOKE, INVOKE_AND_WAIT, START_EXECUTION)


@pytest.mark.parametrize("state", [*of_type("Map"), *of_type("Parallel")], ids=str)
def test_a_map_or_parallel_says_why_and_catches(state: State) -> None:
    assert state.definition["Comment"]
    assert state.definition["Catch"][-1]["ErrorEquals"] == ["States.ALL"]


@pytest.mark.parametrize("state", TASKS, ids=str)
def test_transient_failures_are_repeated_with_growing_pauses_and_full_jitter(state: State) -> None:
    *_, transient = state.definition["Retry"]

    assert transient["BackoffRate"] > 1
    assert transient["JitterStrategy"] == "FULL"
    assert transient["MaxDelaySeconds"] > transient["IntervalSeconds"]


@pytest.mark.parametrize("state", INVOCATIONS, ids=str)
def test_a_function_that_nobody_has_called_for_weeks_is_waited_for(state: State) -> None:
    """Lambda takes its environment away meanwhile; the first call fails and has it made anew.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html
    """
    *_, inactive, _ = state.definition["Retry"]

    assert inactive == {
        "ErrorEquals": [
            "Lambda.CodeArtifactUserPendingException",
            "Lambda.CodeArtifactUserDeletedException",
            "Lambda.ResourceNotReadyException",
            "Lambda.ResourceConflictException",
            "Lambda.ENINotReadyException",
        ],
        "IntervalSeconds": 10,
        "MaxAttempts": 18,
        "BackoffRate": 1,
    }


@pytest.mark.parametrize("state", of_type("Fail"), ids=str)
def test_a_failure_has_error_and_cause(state: State) -> None:
    assert state.definition["Error"]
    assert state.definition["Cause"]


@pytest.mark.parametrize("state", of_type("Choice"), ids=str)
def test_a_choice_is_a_question_that_always_has_an_answer(state: State) -> None:
    assert state.name.endswith("?")
    assert state.definition["Default"]


@pytest.mark.parametrize("machine", DEFINITIONS)
def test_every_next_state_exists_and_every_state_is_reached(machine: str) -> None:
    for scope in scopes(DEFINITIONS[machine]):
        reached: set[str] = set()
        ahead = [scope["StartAt"]]
        while ahead:
            name = ahead.pop()
            if name in reached:
                continue
            reached.add(name)
            state = scope["States"][name]
            branches = [state, *state.get("Choices", []), *state.get("Catch", [])]
            following = [branch["Next"] for branch in branches if "Next" in branch]
            following += [state["Default"]] if "Default" in state else []
            assert following or state.get("End") or state["Type"] in ("Succeed", "Fail"), name
            ahead += following
        assert reached == set(scope["States"])


def assigned(states: dict[str, Any]) -> set[str]:
    """The variables that states assign, whatever becomes of them; not those of what is inside."""
    return {
        variable
        for state in states.values()
        for branch in (state, *state.get("Choices", []), *state.get("Catch", []))
        for variable in branch.get("Assign", {})
    }


def assigned_anew(scope: dict[str, Any], outside: frozenset[str] = frozenset()) -> Iterator[str]:
    """The variables that an inner scope assigns although one around it does, too."""
    own = assigned(scope["States"])
    yield from own & outside
    for state in scope["States"].values():
        for inner in (state.get("ItemProcessor"), *state.get("Branches", [])):
            if inner:
                yield from assigned_anew(inner, outside | own)


@pytest.mark.parametrize("state", STATES, ids=str)
def test_no_answer_is_assigned_twice(state: State) -> None:
    """All variables of one Assign may have 256 KiB together.

    Source: https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html
    """
    definition = state.definition
    for branch in (definition, *definition.get("Choices", []), *definition.get("Catch", [])):
        values = branch.get("Assign", {}).values()
        expressions = [value for value in values if str(value).startswith("{%")]
        assert len(expressions) == len(set(expressions))


@pytest.mark.parametrize("machine", DEFINITIONS)
def test_no_inner_scope_assigns_a_variable_of_an_outer_one(machine: str) -> None:
    """Step Functions refuses such a definition.

    Source: https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html
    """
    assert sorted(assigned_anew(DEFINITIONS[machine])) == []


@pytest.mark.parametrize("machine", DEFINITIONS)
def test_every_variable_is_assigned_somewhere(machine: str) -> None:
    text = json.dumps(DEFINITIONS[machine])
    everywhere: set[str] = set()
    for scope in scopes(DEFINITIONS[machine]):
        everywhere |= assigned(scope["States"])
    # Inside an expression, `:=` assigns as well; $boolean is a function that is passed on.
    used = set(re.findall(r"\$([a-z]\w*)\b(?!\()", text)) - {"states", "boolean"}
    assert used - set(re.findall(r"\$(\w+) :=", text)) == everywhere


@pytest.mark.parametrize("state", TASKS, ids=str)
def test_the_errors_of_retry_and_catch_exist(state: State) -> None:
    raised = {kind.__name__ for _, kind in inspect.getmembers(errors, inspect.isclass)}
    named = {
        error
        for rule in (*state.definition["Retry"], *state.definition["Catch"])
        for error in rule["ErrorEquals"]
        if not error.startswith(("States.", "Lambda.", "Sandbox.", "StepFunctions."))
    }

    assert named <= raised


# Definitions and handlers


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_has_function_and_event_of_its_name(handler: str) -> None:
    assert callable(importlib.import_module(handler).handler)
    assert RESOURCES[f"{camel_case(handler)}Function"]["Properties"]["Handler"] == (
        f"{handler}.handler"
    )
    assert (ROOT / f"events/{handler}.json").is_file()


@pytest.mark.parametrize("handler", sorted(set(HANDLERS) - SCHEDULED))
def test_a_handler_has_the_states_of_its_name(handler: str) -> None:
    states = {task.name for task in INVOCATIONS if task.handler == handler}

    assert states == STATES_OF_SHARED_HANDLERS.get(
        handler, {handler.replace("_", " ").capitalize()}
    )


@pytest.mark.parametrize("handler", sorted(SCHEDULED))
def test_a_scheduled_handler_has_a_schedule(handler: str) -> None:
    events = RESOURCES[f"{camel_case(handler)}Function"]["Properties"]["Events"]

    assert {event["Type"] for event in events.values()} == {"ScheduleV2"}
    assert not [task for task in INVOCATIONS if task.handler == handler]


@pytest.mark.parametrize("handler", sorted(set(HANDLERS) - SCHEDULED))
def test_a_handler_names_its_states(handler: str) -> None:
    docstring = importlib.import_module(handler).__doc__ or ""

    assert re.match(r'States? "', docstring)
    for task in INVOCATIONS:
        if task.handler == handler:
            assert f'"{task.name}"' in docstring


@pytest.mark.parametrize("state", INVOCATIONS, ids=str)
def test_an_invocation_passes_what_the_event_holds(state: State) -> None:
    event = json.loads((ROOT / f"events/{state.handler}.json").read_text())

    assert state.definition["Arguments"]["Payload"].keys() == event.keys()


def time_out_seconds(handler: str) -> int:
    """After how long Lambda ends a function."""
    function = RESOURCES[f"{camel_case(handler)}Function"]["Properties"]
    seconds: int = function.get("Timeout", TEMPLATE["Globals"]["Function"]["Timeout"])
    return seconds


@pytest.mark.parametrize("state", INVOCATIONS, ids=str)
def test_a_task_outlasts_its_function(state: State) -> None:
    if state.definition["Resource"] == INVOKE:
        assert state.definition["TimeoutSeconds"] > time_out_seconds(state.handler)
    else:
        # A gate: its deadline is that of people.
        assert re.fullmatch(
            r"\{% \$(job|jobs\[0\])\.cutover\.gate_deadline_seconds %\}",
            state.definition["TimeoutSeconds"],
        )


def test_events_are_those_of_the_handlers_and_of_the_uses() -> None:
    names = {path.stem for path in (ROOT / "events").glob("*.json")}

    assert {name for name in names if not name.startswith("migrate-")} == set(HANDLERS)
    assert {name for name in names if name.startswith("migrate-")} == {
        "migrate-one-domain",
        "migrate-fleet",
        "migrate-guide",
    }


def test_every_event_is_of_the_one_migration() -> None:
    events = [json.loads((ROOT / f"events/{name}.json").read_text()) for name in HANDLERS]
    jobs = [event["job"] for event in events if "job" in event]

    assert len(jobs) > 1
    assert all(job == jobs[0] for job in jobs)


# Definitions and template


@pytest.mark.parametrize("machine", DEFINITIONS)
def test_substitutions_are_those_that_the_definition_uses(machine: str) -> None:
    properties = RESOURCES[f"{camel_case(machine)}StateMachine"]["Properties"]
    used = set(re.findall(r"\$\{(\w+)\}", json.dumps(DEFINITIONS[machine]))) - {"Partition"}

    assert properties["DefinitionUri"] == f"statemachine/{machine}.asl.json"
    assert properties["DefinitionSubstitutions"] == {
        name: {"Fn::GetAtt": [name.removesuffix("Arn"), "Arn"]} for name in used
    } | {"Partition": {"Ref": "AWS::Partition"}}
    assert {name.removesuffix("Arn") for name in used} <= RESOURCES.keys()


def test_the_template_has_no_other_functions_and_state_machines() -> None:
    def of(kind: str) -> set[str]:
        return {name for name, resource in RESOURCES.items() if resource["Type"] == kind}

    assert of("AWS::Serverless::Function") == {f"{camel_case(name)}Function" for name in HANDLERS}
    assert of("AWS::Serverless::StateMachine") == {
        f"{camel_case(name)}StateMachine" for name in DEFINITIONS
    }


def needed_rights(definition: dict[str, Any]) -> set[tuple[str, str]]:
    """What a state machine's role has to be allowed: action and resource."""
    arn = "arn:${AWS::Partition}"
    here = "${AWS::Region}:${AWS::AccountId}"
    needed: set[tuple[str, str]] = set()
    for scope in scopes(definition):
        for state in scope["States"].values():
            match state.get("Resource"):
                case str(resource) if resource in (INVOKE, INVOKE_AND_WAIT):
                    function = substituted(state["Arguments"]["FunctionName"]).removesuffix("Arn")
                    needed.add(("lambda:InvokeFunction", plain({"Fn::GetAtt": [function, "Arn"]})))
                case str(resource) if resource == START_EXECUTION:
                    child = substituted(state["Arguments"]["StateMachineArn"]).removesuffix("Arn")
                    needed.add(("states:StartExecution", plain({"Ref": child})))
                    executions = f"{arn}:states:{here}:execution:${{{child}.Name}}:*"
                    for action in ("states:DescribeExecution", "states:StopExecution"):
                        needed.add((action, plain({"Fn::Sub": executions})))
                    rule = "StepFunctionsGetEventsForStepFunctionsExecutionRule"
                    for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
                        needed.add((action, plain({"Fn::Sub": f"{arn}:events:{here}:rule/{rule}"})))
    return needed


@pytest.mark.parametrize("machine", DEFINITIONS)
def test_a_state_machine_may_do_what_its_states_do_and_nothing_else(machine: str) -> None:
    properties = RESOURCES[f"{camel_case(machine)}StateMachine"]["Properties"]
    shared, *own = properties["Policies"]
    statements = [statement for policy in own for statement in policy["Statement"]]

    assert shared == {"Ref": "StateMachineLogDeliveryPolicy"}
    assert all(statement["Effect"] == "Allow" for statement in statements)
    granted = [
        (action, plain(resource))
        for statement in statements
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    ]
    assert sorted(granted) == sorted(needed_rights(DEFINITIONS[machine]))


@pytest.mark.parametrize("policy", ["ExecutionsPolicy", "StopExecutionsPolicy"])
def test_a_roll_back_sees_and_stops_the_executions_of_every_state_machine(policy: str) -> None:
    document = RESOURCES[policy]["Properties"]["PolicyDocument"]
    [statement] = document["Statement"]

    assert {
        resource["Fn::Sub"].partition(":execution:")[2] for resource in statement["Resource"]
    } == {f"${{AWS::StackName}}-{machine.replace('_', '-')}:*" for machine in DEFINITIONS}


def test_what_the_schedule_needs_is_there_only_with_it() -> None:
    conditional = {
        name
        for name, resource in RESOURCES.items()
        if resource.get("Condition") == "HasSnapshotSchedule"
    }

    assert TEMPLATE["Parameters"]["SnapshotSchedule"]["Default"] == ""
    assert conditional == {
        "ScheduledSnapshots",
        "ScheduleGroup",
        "ScheduleRole",
        "ScheduledSnapshotsNotStartedAlarm",
        "SnapshotsSkippedAlarm",
    }


def test_the_schedule_may_start_migrations_and_nothing_else() -> None:
    target = RESOURCES["ScheduledSnapshots"]["Properties"]["Target"]
    role = RESOURCES["ScheduleRole"]["Properties"]

    assert target["Arn"] == {"Ref": "MigrateStateMachine"}
    assert target["RoleArn"] == {"Fn::GetAtt": ["ScheduleRole", "Arn"]}
    [policy] = role["Policies"]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert (statement["Action"], statement["Resource"]) == ("states:StartExecution", target["Arn"])


# Policy of a function -> what its handler does that needs it.
REASONS = {
    "DomainAccessPolicy": r"clients\.(source|destination|destination_administrator|sides)\b",
    "DomainMasterPolicy": r"clients\.(source_administrator|destination_administrator|sides)\b",
    "BucketAccessPolicy": r"clients\.(bucket|sides)\(",
    "DestinationSecretPolicy": r"clients\.(destination|destination_administrator|sides)\b",
    "UserSecretsPolicy": r"clients\.(secrets_of_users|sides)\(",
    "RecordsPolicy": r"report\.write\(|records\.write\(|Ownership\(|listing\.|cutover\.|"
    r"artifacts\.copy\(|migration\.begin\(|roll_back\.give_back\(|progress\.report\(|plan\.|"
    r"retention\.expire\(|kept_snapshot\.|gates\.announce\(",
    "TablePolicy": r"progress\.report\(|gates\.announce\(|plan\.write\(|report\.write\(|"
    r"clients\.(effect|fence|journal|table)\(|verification\.(run|prove)\(",
    "ExecutionsPolicy": r"clients\.step_functions\(",
    "StopExecutionsPolicy": r"roll_back\.stop_executions\(",
    "TopicPolicy": r"clients\.topic\(",
    "EventsPolicy": r"clients\.bus\(",
    "StartRollBackPolicy": r"roll_back\.sweep\(",
}


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_function_may_do_what_its_handler_does_and_nothing_else(handler: str) -> None:
    text = (FUNCTIONS / f"{handler}.py").read_text()
    policies = RESOURCES[f"{camel_case(handler)}Function"]["Properties"].get("Policies", [])

    assert {policy["Ref"] for policy in policies} == {
        policy for policy, reason in REASONS.items() if re.search(reason, text)
    }


@pytest.mark.parametrize(
    ("account", "via", "allowed"),
    [
        ("222222222222", "secretsmanager.eu-central-1.amazonaws.com", True),
        ("222222222222", "secretsmanager.cn-north-1.amazonaws.com.cn", True),
        ("222222222222", "s3.eu-central-1.amazonaws.com", False),
        ("222222222222", None, False),
        ("333333333333", "secretsmanager.eu-central-1.amazonaws.com", False),
    ],
)
def test_a_secret_of_the_input_may_be_encrypted_by_any_key_of_the_account(
    account: str, via: str | None, allowed: bool
) -> None:
    """Secrets Manager asks for the key as who reads the secret."""
    values = {
        "AWS::Partition": "aws",
        "AWS::AccountId": "222222222222",
        "SecretNamePrefix": "snapferry/",
    }
    properties = RESOURCES["DestinationSecretPolicy"]["Properties"]
    document = resolved(properties["PolicyDocument"], values)
    key = f"arn:aws:kms:eu-central-1:{account}:key/1"

    decision = evaluate([document], "kms:Decrypt", key, {"kms:ViaService": via} if via else {})

    assert decision is (Decision.ALLOWED if allowed else Decision.NOT_ALLOWED)


def variables_read(*paths: Path) -> set[str]:
    return {
        name for path in paths for name in re.findall(r'os\.environ\["(\w+)"\]', path.read_text())
    }


def variables_given(properties: dict[str, Any]) -> set[str]:
    given = properties.get("Environment", {}).get("Variables", {})
    return {name for name in given if not name.startswith("POWERTOOLS_")}


def test_variables_that_the_code_reads_are_given_and_no_others() -> None:
    assert variables_read(*FUNCTIONS.rglob("*.py")) == variables_given(
        TEMPLATE["Globals"]["Function"]
    ) | {
        name
        for handler in HANDLERS
        for name in variables_given(RESOURCES[f"{camel_case(handler)}Function"]["Properties"])
    }


@pytest.mark.parametrize("handler", HANDLERS)
def test_variables_of_one_function_are_those_that_its_handler_reads(handler: str) -> None:
    read = variables_read(FUNCTIONS / f"{handler}.py")

    assert variables_given(RESOURCES[f"{camel_case(handler)}Function"]["Properties"]) == (
        read - variables_given(TEMPLATE["Globals"]["Function"])
    )


def test_a_roll_back_begins_when_a_migration_ends_without_success() -> None:
    [rule] = RESOURCES["RollBackStateMachine"]["Properties"]["Events"].values()
    name = RESOURCES["MigrateStateMachine"]["Properties"]["Name"]["Fn::Sub"]
    here = "${AWS::Region}:${AWS::AccountId}"

    assert rule["Type"] == "EventBridgeRule"
    # On the default bus, where Step Functions tells it.
    assert "EventBusName" not in rule["Properties"]
    assert rule["Properties"]["Pattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "stateMachineArn": [
                {"Fn::Sub": f"arn:${{AWS::Partition}}:states:{here}:stateMachine:{name}"}
            ],
            "status": ["FAILED", "TIMED_OUT", "ABORTED"],
        },
    }
    assert rule["Properties"]["InputPath"] == "$.detail"


def test_a_record_that_is_not_there_is_told_from_one_that_may_not_be_read() -> None:
    """S3 answers 404 to those only who may list the bucket.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    document = RESOURCES["RecordsPolicy"]["Properties"]["PolicyDocument"]
    listing = [
        (statement["Effect"], statement["Resource"])
        for statement in document["Statement"]
        if "s3:ListBucket" in as_list(statement["Action"])
    ]

    assert listing == [("Allow", {"Fn::GetAtt": ["RecordsBucket", "Arn"]})]
    assert all("Condition" not in statement for statement in document["Statement"])


# What has to fit into the time of a function

REQUEST_SECONDS = clients._REQUEST_TIMEOUT_SECONDS
# How long they look for an end, in the last round and in others.
HOLD_SECONDS = [
    int(seconds)
    for state in STATES
    if "hold_seconds" in state.definition.get("Arguments", {}).get("Input", {})
    for seconds in re.findall(r"\d+", state.definition["Arguments"]["Input"]["hold_seconds"])
]
RESERVE_SECONDS: int = importlib.import_module("give_back_changes")._RESERVE_SECONDS


@pytest.mark.parametrize(
    ("handler", "seconds"),
    [
        *(
            pytest.param("catch_up", slices._LEAVE_AFTER_SECONDS[until] + longest_round, id=until)
            for until, longest_round in slices._LONGEST_ROUND_SECONDS.items()
        ),
        ("catch_up", slices._LAST_ROUND_SECONDS),
        ("cut_over", slices._LAST_ROUND_SECONDS),
        ("cut_over", steps._LONGEST_FREEZE_SECONDS),
        # For writes to settle, and for checkpoints to be known.
        ("start_snapshot", 2 * base._CHECKPOINT_SECONDS),
        ("check_snapshot", max(HOLD_SECONDS)),
        ("check_restore", max(HOLD_SECONDS)),
        ("verify_documents", documents._LONGEST_CALL_SECONDS),
        ("give_back_changes", time_out_seconds("give_back_changes") - RESERVE_SECONDS),
    ],
)
def test_the_last_request_of_a_function_ends_before_its_time_does(
    handler: str, seconds: int
) -> None:
    assert seconds + REQUEST_SECONDS <= time_out_seconds(handler)


def test_the_wait_for_replicas_is_one_request() -> None:
    assert copy._LONGEST_WAIT_SECONDS < REQUEST_SECONDS


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_function_that_asks_a_cluster_outlasts_the_answer(handler: str) -> None:
    """Otherwise nobody hears that the cluster didn't answer, nor which."""
    policies = RESOURCES[f"{camel_case(handler)}Function"]["Properties"].get("Policies", [])
    of_clusters = {"DomainAccessPolicy", "DomainMasterPolicy", "DestinationSecretPolicy"}

    if of_clusters & {policy["Ref"] for policy in policies}:
        assert time_out_seconds(handler) > REQUEST_SECONDS


# What is watched

ALARMS = {
    name: resource["Properties"]
    for name, resource in RESOURCES.items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}
# Namespace -> the metrics of AWS that the stack looks at.
METRICS_OF_AWS = {
    "AWS/States": {
        "ExecutionsStarted",
        "ExecutionsSucceeded",
        "ExecutionsFailed",
        "ExecutionsTimedOut",
        "ExecutionsAborted",
    },
    "AWS/Lambda": {"Throttles"},
    "AWS/Scheduler": {"InvocationDroppedCount"},
}
STACK_NAMESPACE = "Snapferry/${AWS::StackName}"


def require_metric(namespace: str, name: str, dimensions: dict[str, str]) -> None:
    """Somebody has to emit a metric that is looked at."""
    if namespace == metrics.NAMESPACE:
        assert name in metrics.UNITS
        assert dimensions == {"service": "${AWS::StackName}"}
    elif namespace == STACK_NAMESPACE:
        filters = [
            transformation
            for resource in RESOURCES.values()
            if resource["Type"] == "AWS::Logs::MetricFilter"
            for transformation in resource["Properties"]["MetricTransformations"]
        ]
        assert name in {made["MetricName"] for made in filters}
        assert {plain(made["MetricNamespace"]) for made in filters} == {
            plain({"Fn::Sub": STACK_NAMESPACE})
        }
        assert dimensions == {}
    else:
        assert name in METRICS_OF_AWS[namespace]


def test_the_dimension_of_the_metrics_is_the_stack() -> None:
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]

    assert variables["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_looks_at_a_metric_that_there_is(alarm: str) -> None:
    properties = ALARMS[alarm]
    looked_at = [
        metric["MetricStat"]["Metric"]
        for metric in properties.get("Metrics", [])
        if "MetricStat" in metric
    ] or [properties]

    for metric in looked_at:
        namespace = metric["Namespace"]
        require_metric(
            namespace if isinstance(namespace, str) else namespace["Fn::Sub"],
            metric["MetricName"],
            {
                dimension["Name"]: f"${{{dimension['Value']['Ref']}}}"
                for dimension in metric.get("Dimensions", [])
            },
        )


@pytest.mark.parametrize(
    ("alarm", "state_machine"),
    [
        ("MigrationFailedAlarm", "MigrateStateMachine"),
        ("MigrationTimedOutAlarm", "MigrateStateMachine"),
        ("RollBackAlarm", "RollBackStateMachine"),
    ],
)
def test_an_alarm_looks_at_the_state_machine_of_its_name(alarm: str, state_machine: str) -> None:
    assert ALARMS[alarm]["Dimensions"] == [
        {"Name": "StateMachineArn", "Value": {"Ref": state_machine}}
    ]


def test_waits_are_told_by_names_of_errors() -> None:
    pattern = RESOURCES["FunctionWaits"]["Properties"]["FilterPattern"]

    names = re.findall(r'\$\.exception_name = "(.*?)"', pattern)

    assert len(names) == pattern.count("=") == 2
    assert all(issubclass(getattr(errors, name), errors.SnapferryError) for name in names)


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_adds_up_what_has_no_data_as_nothing(alarm: str) -> None:
    """Otherwise the sum or difference has none either, where one of the metrics has none."""
    metrics_of = ALARMS[alarm].get("Metrics", [])
    names = [metric["Id"] for metric in metrics_of if "MetricStat" in metric]

    for expression in [metric["Expression"] for metric in metrics_of if "Expression" in metric]:
        filled = [f"FILL({name}, 0)" for name in names]
        assert expression in (" + ".join(filled), " - ".join(filled))


def test_the_topic_and_its_key_are_for_alarms_of_this_account_besides_functions() -> None:
    """A topic whose policy has a condition loses what EventBridge tells, in silence."""
    own = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    for resource, document in (("TopicKey", "KeyPolicy"), ("TopicAccess", "PolicyDocument")):
        statements = RESOURCES[resource]["Properties"][document]["Statement"]
        conditions = {
            statement["Principal"]["Service"]: statement.get("Condition")
            for statement in statements
            if "Service" in statement["Principal"]
        }

        assert conditions == {"cloudwatch.amazonaws.com": own}


def test_what_docs_name_is_an_output() -> None:
    assert TEMPLATE["Outputs"]["FunctionLogGroupName"]["Value"] == {"Ref": "FunctionLogs"}


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_tells_people_what_to_do(alarm: str) -> None:
    properties = ALARMS[alarm]
    description = properties["AlarmDescription"]["Fn::Sub"]

    assert properties["AlarmActions"] == [{"Ref": "Topic"}]
    assert "What to do: " in description
    # What CloudWatch takes; names and numbers of an account in place of the variables are short.
    assert len(description) < 900
    assert f"| `{alarm}` |" in (ROOT / "docs/watching.md").read_text()


def test_the_commands_that_alarms_tell_are_understood() -> None:
    texts = [properties["AlarmDescription"]["Fn::Sub"] for properties in ALARMS.values()]
    commands = re.findall(r"snapferry [a-z-]+ \S+ --stack \S+?(?=[.;,\\ ]|$)", "\n".join(texts))

    assert len(commands) > len(ALARMS) / 2
    for command in commands:
        options = parser().parse_args(command.split()[1:])
        assert options.stack == "${AWS::StackName}"


def test_the_dashboard_shows_every_metric() -> None:
    body = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    shown = [
        [part for part in metric if isinstance(part, str)]
        for widget in body["widgets"]
        for metric in widget["properties"]["metrics"]
    ]

    for namespace, name, *dimensions in shown:
        require_metric(namespace, name, dict(zip(dimensions[::2], dimensions[1::2], strict=True)))
    assert {name for namespace, name, *_ in shown if namespace == metrics.NAMESPACE} == set(
        metrics.UNITS
    )


# Handlers and package


def imports(path: Path) -> set[str]:
    """The modules that a file imports, those for type checkers only aside."""
    tree = ast.parse(path.read_text())
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "no relative imports"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def of_package(names: set[str]) -> set[str]:
    """The modules of the package among them, and those that they are names in."""
    found = set()
    for name in names:
        top, *parts = name.split(".")
        if top == "snapferry":
            inside = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
            found.add(next(module for module in inside if module in MODULES))
    return found


def top_level(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_imports_the_package_and_no_client_library(handler: str) -> None:
    imported = top_level(imports(FUNCTIONS / f"{handler}.py"))

    assert imported - sys.stdlib_module_names <= {"aws_lambda_powertools", "snapferry"}


@pytest.mark.parametrize("module", MODULES)
def test_the_package_imports_no_handler(module: str) -> None:
    assert not top_level(imports(MODULES[module])) & set(HANDLERS)


def test_clients_are_made_in_one_place_and_given_by_handlers() -> None:
    imported = {module: imports(path) for module, path in MODULES.items()}

    assert {
        module
        for module, names in imported.items()
        if top_level(names) & {"boto3", "botocore", "requests", "requests_aws4auth"}
    } == {"clients"}
    assert not [module for module, names in imported.items() if "clients" in of_package(names)]


def test_dependencies_point_one_way() -> None:
    graph = {module: of_package(imports(path)) for module, path in MODULES.items()}
    between_packages: dict[str, set[str]] = {}
    for module, needed in graph.items():
        package = module.partition(".")[0]
        others = {name.partition(".")[0] for name in needed} - {package}
        between_packages.setdefault(package, set()).update(others)

    for each in (graph, between_packages):
        order = list(graphlib.TopologicalSorter(each).static_order())
        assert set(order) == set(each)


def test_the_table_is_read_in_one_place_whose_reads_are_consistent() -> None:
    readers = {
        path
        for folder in (FUNCTIONS, ROOT / "snapferry_cli")
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"batch_get_item", "get_item", "query", "scan"}
        # That of the module itself, and that of events.
        and ast.unparse(node.func) not in {"table.query", "jmespath_utils.query"}
    }

    assert readers == {PACKAGE / "table.py"}
