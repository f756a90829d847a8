"""What the README says is so."""

import json
import re
import shlex
from pathlib import Path

from bench.results import Results, shown
from snapferry import errors
from snapferry_cli.main import parser

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_input_is_the_event_that_the_tests_use() -> None:
    [example] = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert json.loads(example) == json.loads((ROOT / "events/migrate-one-domain.json").read_text())


def errors_that_end_a_migration() -> set[str]:
    """The names of ours, and those in the definitions alone."""
    named = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type)
        and issubclass(value, errors.SnapferryError)
        and value is not errors.SnapferryError
    }
    # These open a gate again.
    return named - {"OutsideWindow", "SourceChanged"} | {
        "GateNotAnswered",
        "GateRejected",
        "DomainsFailed",
        "NotGivenBack",
    }


def test_every_error_that_can_end_a_migration_is_explained() -> None:
    section = README.partition("### Errors")[2].partition("\n## ")[0]
    explained = set(re.findall(r"`(\w+)`", section.replace("`Error`", "").replace("`Cause`", "")))
    assert explained == errors_that_end_a_migration()


def test_its_make_commands_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", README)) <= targets


def test_its_command_lines_are_understood() -> None:
    lines = re.findall(r"^snapferry .*", README, re.MULTILINE)
    assert lines
    for line in lines:
        assert parser().parse_args(shlex.split(line, comments=True)[1:])


def test_its_figures_of_the_bench_are_those_that_were_measured() -> None:
    assert "| Snapferry |" in README
    assert shown(README, Results.load()) == README
