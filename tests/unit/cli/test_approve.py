import io
import json
import sys

import pytest

from tests.unit.cli.aws import CALLER, FakeAws
from tests.unit.cli.conftest import Run


def answer(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Has a person type these lines."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_answers_the_open_gate_and_notes_who_did(aws: FakeAws, run: Run) -> None:
    aws.begin()
    token = aws.announce()

    said = run("approve", "m-1", "--yes", "--json")

    assert said.code == 0
    assert said.document == {
        "migration_id": "m-1",
        "answer": "approved",
        "by": CALLER,
        "gates": [{"gate": "stop_writes", "domain": "logs"}],
    }
    [sent] = aws.answers
    assert sent["taskToken"] == token
    output = json.loads(sent["output"])
    assert (output["approved"], output["by"]) == (True, CALLER)
    assert output["at"].startswith("20")
    item = aws.gate()
    assert (item["gate_state"], item["answered_by"]) == ("answered", CALLER)
    assert item["prompt"] == "Do what stop_writes asks for."


def test_asks_first(aws: FakeAws, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.begin()
    aws.announce()
    answer(monkeypatch, "n", "y")

    refused = run("approve", "m-1")
    said = run("approve", "m-1", "stop_writes")

    assert refused.code == 1
    assert "Do what stop_writes asks for." in refused.out
    assert "Approve stop_writes of logs? [y/N]" in refused.out
    assert said.code == 0
    assert f"stop_writes of logs: approved as {CALLER}" in said.out
    assert len(aws.answers) == 1


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_where_nobody_is_asked_yes_is_needed(
    aws: FakeAws, run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    aws.begin()
    aws.announce()
    answer(monkeypatch)

    said = run("approve", "m-1", *options)

    assert said.code == 2
    assert "--yes" in said.err + said.out
    assert aws.answers == []
    assert aws.gate()["gate_state"] == "open"


def test_rejects_with_a_reason(aws: FakeAws, run: Run) -> None:
    aws.begin()
    token = aws.announce()

    said = run("approve", "m-1", "stop_writes", "--yes", "--reject", "not tonight")

    assert said.code == 0
    assert aws.answers == [
        {
            "taskToken": token,
            "error": "GateRejected",
            "cause": f"rejected by {CALLER}: not tonight",
        }
    ]
    assert aws.gate()["gate_state"] == "answered"


@pytest.mark.parametrize("reason", ["", " "])
def test_a_rejection_without_a_reason_answers_nothing(
    aws: FakeAws, run: Run, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    """It is what a script says whose variable isn't set."""
    aws.begin()
    aws.announce()

    with pytest.raises(SystemExit) as ended:
        run("approve", "m-1", "--yes", "--reject", reason)

    assert ended.value.code == 2
    assert "--reject: say why" in capsys.readouterr().err
    assert aws.answers == []


def test_of_several_gates_the_named_are_answered(aws: FakeAws, run: Run) -> None:
    aws.begin()
    for domain in ("logs", "orders"):
        aws.announce("stop_writes", domain)
    aws.announce("clients_moved", "users")

    ambiguous = run("approve", "m-1", "--yes")
    of_domain = run("approve", "m-1", "--yes", "--json", "--domain", "orders")
    aws.announce("stop_writes", "orders")
    of_name = run("approve", "m-1", "stop_writes", "--yes", "--json")

    assert ambiguous.code == 2
    assert "stop_writes of logs, stop_writes of orders, clients_moved of users" in ambiguous.err
    assert of_domain.document["gates"] == [{"gate": "stop_writes", "domain": "orders"}]
    assert [gate["domain"] for gate in of_name.document["gates"]] == ["logs", "orders"]
    assert aws.gate("clients_moved", "users")["gate_state"] == "open"


def test_a_gate_that_was_answered_says_by_whom(aws: FakeAws, run: Run) -> None:
    aws.begin()
    aws.announce()
    run("approve", "m-1", "--yes")

    said = run("approve", "m-1", "stop_writes", "--yes")

    assert said.code == 3
    assert f"stop_writes of logs: {CALLER} answered it at 20" in said.err
    assert len(aws.answers) == 1


def test_a_gate_whose_time_ran_out_says_so(aws: FakeAws, run: Run) -> None:
    aws.begin()
    aws.announce(seconds=-5)

    said = run("approve", "m-1", "--yes")

    assert said.code == 3
    assert "stop_writes of logs: its time ran out at 20" in said.err
    assert aws.answers == []


def test_a_gate_that_somebody_answers_meanwhile_is_a_conflict(aws: FakeAws, run: Run) -> None:
    aws.begin()
    aws.open_tokens.remove(aws.announce())

    said = run("approve", "m-1", "--yes")

    assert said.code == 1
    assert said.err.startswith("Conflict: the gate stop_writes of logs isn't open any more")
    assert aws.gate()["gate_state"] == "open"


def test_a_gate_that_is_announced_anew_stays_open(
    aws: FakeAws, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.begin()
    aws.announce()

    def ask(_: str) -> str:
        aws.announce()
        return "yes"

    monkeypatch.setattr("builtins.input", ask)

    assert run("approve", "m-1").code == 0
    assert aws.gate()["gate_state"] == "open"


def test_no_gate_yet(aws: FakeAws, run: Run) -> None:
    aws.begin()
    said = run("approve", "m-1")
    assert (said.code, said.err) == (3, "NotFound: no such gate is open yet\n")


def test_the_gates_that_are_open_are_named_where_another_is_meant(aws: FakeAws, run: Run) -> None:
    aws.begin()
    aws.announce("plan", "all domains")

    said = run("approve", "m-1", "plan", "--domain", "logs", "--yes")

    assert said.code == 3
    assert said.err == "NotFound: no such gate is open; open are plan of all domains\n"
    assert aws.answers == []


def test_a_migration_that_has_ended_waits_for_nobody(aws: FakeAws, run: Run) -> None:
    arn = aws.begin()
    aws.announce()
    aws.end(arn, "ABORTED", error="Aborted", cause="by anna")

    said = run("approve", "m-1", "--yes")

    assert said.code == 3
    assert "has ended" in said.err
    assert aws.answers == []
