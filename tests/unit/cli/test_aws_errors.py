"""What goes wrong with AWS is one line that says what to do."""

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.unit.cli.aws import FakeAws, Refusal
from tests.unit.cli.conftest import Run, Said


def the_line(said: Said) -> str:
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("operation", "code", "exit_code", "remedy"),
    [
        ("DescribeStacks", "AccessDenied", 4, "OperatorPolicyArn"),
        ("DescribeExecution", "AccessDeniedException", 4, "OperatorPolicyArn"),
        ("Query", "AccessDeniedException", 4, "OperatorPolicyArn"),
        ("DescribeStacks", "ExpiredToken", 4, "log in"),
        ("DescribeExecution", "ExpiredTokenException", 4, "log in"),
        ("DescribeExecution", "UnrecognizedClientException", 4, "log in"),
        ("DescribeStacks", "InvalidClientTokenId", 4, "--profile"),
        ("DescribeExecution", "StateMachineDeleting", 1, "StateMachineDeleting"),
    ],
)
def test_a_refusal_names_the_remedy(
    aws: FakeAws, run: Run, operation: str, code: str, exit_code: int, remedy: str
) -> None:
    aws.begin()
    aws.refusals[operation] = Refusal(code, "not\nnow")

    said = run("watch", "m-1")

    assert said.code == exit_code
    assert remedy in the_line(said)
    assert operation in said.err


def test_programs_get_the_error_as_json(aws: FakeAws, run: Run) -> None:
    aws.refusals["DescribeStacks"] = Refusal("AccessDenied", "User anna may not")

    said = run("watch", "m-1", "--json")

    assert (said.code, said.err) == (4, "")
    assert said.document["error"] == "AccessDenied"
    assert "User anna may not" in said.document["message"]


def test_no_such_stack(run: Run) -> None:
    said = run("watch", "m-1", "--stack", "ferry", "--region", "eu-north-1")

    assert said.code == 3
    assert "there is no stack 'ferry' in eu-north-1" in the_line(said)
    assert "SNAPFERRY_STACK" in said.err


def test_the_environment_names_the_stack(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAPFERRY_STACK", "other")
    assert "'other'" in run("watch", "m-1").err


def test_a_stack_of_something_else(aws: FakeAws, run: Run) -> None:
    del aws.outputs["TableName"]
    said = run("watch", "m-1")
    assert said.code == 3
    assert "no output TableName" in the_line(said)


def test_no_credentials(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            without.delenv(name)
        said = run("watch", "m-1")
    assert said.code == 4
    assert "aws sso login" in the_line(said)


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_environment_names_the_region(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv(name, "eu-north-1")

    assert "in eu-north-1" in run("watch", "m-1", "--stack", "ferry").err


def test_no_region(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    said = run("watch", "m-1")
    assert said.code == 2
    assert "--region" in the_line(said)


def test_region_that_cannot_be(run: Run) -> None:
    said = run("watch", "m-1", "--region", "eu west")
    assert said.code == 2
    assert "--region" in the_line(said)


def test_no_such_profile(run: Run) -> None:
    said = run("watch", "m-1", "--profile", "nobody")
    assert said.code == 2
    assert "nobody" in the_line(said)
    assert "list-profiles" in said.err


def test_aws_cannot_be_reached(aws: FakeAws, run: Run) -> None:
    aws.refusals["DescribeStacks"] = EndpointConnectionError(endpoint_url="https://aws.invalid")
    aws.events.extend([lambda: None] * 10)  # it tries again

    said = run("watch", "m-1")

    assert said.code == 4
    assert "AWS can't be reached" in the_line(said)
    assert len(aws.sent("DescribeStacks")) > 1


def test_a_command_line_that_cannot_be_used(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("watch",), ("watch", "m 1"), ("approve", "m-1", "no_such_gate")):
        with pytest.raises(SystemExit) as ended:
            run(*arguments)
        assert ended.value.code == 2
    assert "no_such_gate" in capsys.readouterr().err
