import shlex

import pytest

from snapferry_cli.main import parser
from tests.unit.cli.aws import FakeAws
from tests.unit.cli.conftest import Run

OUTPUT = '{"status": "SUCCEEDED", "report": "migrations/m-1/report.json"}'


def interrupt() -> None:
    raise KeyboardInterrupt


def test_programs_get_a_line_for_each_change(aws: FakeAws, run: Run) -> None:
    arn = aws.begin()
    aws.events.extend(
        [
            lambda: None,
            aws.copy,
            lambda: aws.copy(ended=True),
            aws.announce,
            lambda: aws.end(arn, output=OUTPUT),
        ]
    )

    said = run("watch", "m-1", "--json")

    assert said.code == 0
    looks = said.documents
    assert [look["status"] for look in looks] == ["RUNNING"] * 4 + ["SUCCEEDED"]
    assert [[domain["ended"] for domain in look["domains"]] for look in looks] == [
        [],
        [False],
        [True],
        [True],
        [True],
    ]
    assert looks[1]["domains"][0]["domain"] == "logs"
    assert looks[1]["domains"][0]["elapsed_seconds"] == 5.5
    assert [gate["gate"] for gate in looks[3]["gates"]] == ["stop_writes"]
    assert [look["output"] and look["output"]["report"] for look in looks] == [
        None,
        None,
        None,
        None,
        "migrations/m-1/report.json",
    ]


def test_looks_no_more_often_than_every_two_seconds(aws: FakeAws, run: Run) -> None:
    arn = aws.begin()
    aws.events.extend([lambda: None, lambda: None, lambda: aws.end(arn, output=OUTPUT)])

    run("watch", "m-1", "--json")

    assert aws.waited_seconds / len(aws.sent("DescribeExecution")[1:]) >= 2


def test_people_see_copies_gates_and_the_end(aws: FakeAws, run: Run) -> None:
    arn = aws.begin()

    def end() -> None:
        aws.fence.end()
        aws.end(arn, output=OUTPUT)

    aws.events.extend(
        [
            aws.copy,
            lambda: aws.copy(ended=True, bytes_done=20_000_000, files_done=30),
            aws.announce,
            lambda: None,
            end,
        ]
    )

    said = run("watch", "m-1")

    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == (
        "  logs round 1 snapshot: 5.0 MB of 20.0 MB, 3 of 30 files, 1.0 MB/s, 15 s to go"
    )
    assert lines[1].endswith("20.0 MB of 20.0 MB, 30 of 30 files, 1.0 MB/s, 5.5 s")
    assert lines[2].startswith("Gate stop_writes of logs, until 20")
    assert lines[3] == "  Do what stop_writes asks for."
    assert lines[5].startswith("m-1: SUCCEEDED after ")
    assert lines[6:] == ["Report: s3://records/migrations/m-1/report.json"]


def test_the_end_of_a_plan_is_where_it_lies(aws: FakeAws, run: Run) -> None:
    output = (
        '{"plan": "migrations/m-1/plan.json", "page": "migrations/m-1/plan.html", "restore": 1}'
    )
    aws.end(aws.begin(marked=False), output=output)

    said = run("watch", "m-1")

    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].startswith("m-1: SUCCEEDED after ")
    assert lines[1:] == ["Plan: s3://records/migrations/m-1/plan.html, snapferry plan --of m-1"]


def test_the_command_beside_a_gate_answers_it(aws: FakeAws, run: Run) -> None:
    arn = aws.begin()
    aws.announce()
    aws.events.append(lambda: aws.end(arn, output=OUTPUT))
    said = run("watch", "m-1", "--region", "eu-west-1")
    [command] = [line for line in said.out.splitlines() if "snapferry approve" in line]

    options = parser().parse_args(shlex.split(command)[1:])

    assert (options.migration_id, options.gate, options.domain) == ("m-1", "stop_writes", "logs")
    assert (options.stack, options.region) == ("snapferry", "eu-west-1")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_no_token_is_shown(aws: FakeAws, run: Run, options: tuple[str, ...]) -> None:
    arn = aws.begin()
    token = aws.announce()
    aws.events.append(lambda: aws.end(arn, output=OUTPUT))

    assert token not in run("watch", "m-1", *options).out


def test_a_failure_is_told_with_its_cause(aws: FakeAws, run: Run) -> None:
    aws.end(aws.begin(), "FAILED", error="Conflict", cause="an open index [orders] stands there")

    said = run("watch", "m-1")

    assert said.code == 1
    assert "m-1: FAILED after 0 s\nConflict: an open index [orders] stands there\n" in said.out


def test_after_an_abort_the_roll_back_is_what_to_follow(aws: FakeAws, run: Run) -> None:
    aws.end(aws.begin(), "ABORTED", error="Aborted", cause="aborted by anna")
    running = run("watch", "m-1")
    aws.fence.end()
    ended = run("watch", "m-1")

    assert running.out.endswith("is given back: snapferry roll-back m-1\n")
    assert ended.out.endswith("Aborted: aborted by anna\n")


def test_gates_of_a_migration_that_has_ended_are_not_open(aws: FakeAws, run: Run) -> None:
    arn = aws.begin()
    aws.announce()
    aws.end(arn, "ABORTED", error="Aborted", cause="by anna")

    said = run("watch", "m-1", "--json")

    assert (said.code, said.document["status"], said.document["gates"]) == (1, "ABORTED", [])


def test_ctrl_c_leaves_the_migration_running_and_says_so(aws: FakeAws, run: Run) -> None:
    aws.begin()
    aws.events.append(interrupt)

    said = run("watch", "m-1")

    assert said.code == 130
    assert "The migration runs on." in said.err
    assert "snapferry watch m-1" in said.err
    assert not aws.sent("StopExecution")


def test_an_unknown_migration_is_named(run: Run) -> None:
    said = run("watch", "m-2")

    assert said.code == 3
    assert said.err.startswith("NotFound: there is no migration 'm-2'.")
