import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from snapferry import request
from tests.unit.cli.aws import MIGRATE, STATES, FakeAws
from tests.unit.cli.conftest import Run
from tests.unit.conftest import document


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "input.json"
    path.write_text(json.dumps(document()))
    return str(path)


def test_starts_an_execution_with_the_input(aws: FakeAws, run: Run, file: str) -> None:
    said = run("start", file, "--name", "m-1")

    assert said.code == 0
    [started] = aws.sent("StartExecution")
    assert (started["stateMachineArn"], started["name"]) == (MIGRATE, "m-1")
    assert json.loads(started["input"]) == document()
    assert "Started the migration m-1." in said.out
    for command in ("watch", "approve", "abort"):
        assert f"snapferry {command} m-1\n" in said.out


def test_tells_programs_what_it_started(aws: FakeAws, run: Run, file: str) -> None:
    said = run("start", file, "--name", "m-1", "--json", "--region", "eu-west-1")

    assert list(aws.executions) == [f"{STATES}:execution:migrate:m-1"]
    assert said.document == {
        "migration_id": "m-1",
        "execution_arn": f"{STATES}:execution:migrate:m-1",
        "domains": ["logs"],
        "commands": {
            name: f"snapferry {name} m-1 --region eu-west-1"
            for name in ("watch", "approve", "abort")
        },
    }


def test_makes_a_name_that_can_be_used(run: Run, file: str) -> None:
    migration_id = run("start", file, "--json").document["migration_id"]

    [job], _ = request.parse(document(), migration_id)
    assert job.migration_id == migration_id


def test_reads_standard_input(aws: FakeAws, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(document())))

    assert run("start", "-").code == 0
    assert json.loads(aws.sent("StartExecution")[0]["input"]) == document()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(document(domain__hosst="x")), ["domains[0].hosst", "did you mean 'host'?"]),
        (json.dumps([]), ["input: this has to be an object"]),
        ('{"domains": ', ["is no JSON", "line 1 column 13"]),
        (None, ["can't be read: No such file or directory"]),
    ],
    ids=["typo", "array", "half", "no file"],
)
def test_bad_input_starts_nothing(
    aws: FakeAws, run: Run, tmp_path: Path, text: str | None, words: list[str]
) -> None:
    path = tmp_path / "input.json"
    if text is not None:
        path.write_text(text)

    said = run("start", str(path))
    told = run("start", str(path), "--json")

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("InvalidInput: ")
    assert said.err.count("\n") == 1
    assert (told.code, told.document["error"]) == (2, "InvalidInput")
    for word in words:
        assert word in said.err
        assert word in told.document["message"]
    assert aws.requests == []


@pytest.mark.parametrize("name", ["monday night", "ü", "a" * 81])
def test_a_name_that_cannot_be_used_starts_nothing(
    aws: FakeAws, run: Run, capsys: pytest.CaptureFixture[str], file: str, name: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("start", file, "--name", name)

    assert ended.value.code == 2
    assert "argument --name: an id has at most 80 letters, digits" in capsys.readouterr().err
    assert aws.requests == []


def test_a_name_is_used_once(aws: FakeAws, run: Run, file: str) -> None:
    aws.begin("m-1")

    said = run("start", file, "--name", "m-1")

    assert said.code == 1
    assert "another --name" in said.err


def test_watches_it_afterwards(aws: FakeAws, run: Run, file: str) -> None:
    def end() -> Any:
        aws.end(f"{STATES}:execution:migrate:m-1", "FAILED", error="Conflict", cause="orders")

    aws.events.append(end)

    said = run("start", file, "--name", "m-1", "--watch", "--json")

    assert said.code == 1
    started, *looks = said.documents
    assert started["migration_id"] == "m-1"
    assert [look["status"] for look in looks] == ["RUNNING", "FAILED"]


def test_watches_it_though_it_is_seen_late(aws: FakeAws, run: Run, file: str) -> None:
    aws.unknown_looks = 3
    arn = f"{STATES}:execution:migrate:m-1"
    aws.events.extend([*[lambda: None] * 3, lambda: aws.end(arn)])

    said = run("start", file, "--name", "m-1", "--watch", "--json")

    assert said.code == 0
    assert [look["status"] for look in said.documents[1:]] == ["RUNNING", "SUCCEEDED"]
