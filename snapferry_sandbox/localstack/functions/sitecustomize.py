"""Imported by each function's interpreter: lets calls go wrong, see `snapferry_sandbox.faults`.

An error, a death and a time-out come when a function's effect is there and not yet noted as done,
or in the middle of it; a function lingers after the fence has let it in, and before its effect.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from awslambdaric import bootstrap

# For this import alone: a function sees its package and nothing else.
sys.path.append(str(Path(__file__).parents[3]))
from snapferry_sandbox import faults

sys.path.pop()

_FOLDER = Path(os.environ[faults.VARIABLE])
_LEFT_MILLISECONDS = 2_000

type Handler = Callable[[Any, Any], Any]


class UnexpectedError(Exception):
    """An error that nobody has thought of."""


def _install() -> None:
    get_handler = bootstrap._get_handler

    def get_faulty_handler(name: str) -> Handler:
        return _faulty(name.partition(".")[0], get_handler(name))

    bootstrap._get_handler = get_faulty_handler


def _faulty(name: str, handler: Handler) -> Handler:
    def handle(event: Any, context: Any) -> Any:
        for called in (event.get("step", name), name):
            if fault := faults.take(_FOLDER, f"handler-{called}", f"struck-{called}"):
                break
        else:
            return handler(event, context)
        fault["taken"] = f"struck-{called}"
        if fault["way"] == "die":
            # So that nobody has to wait for long until it must be dead.
            context._epoch_deadline_time_in_ms = int(time.time() * 1000) + _LEFT_MILLISECONDS
        try:
            midway = "after_bulks" in fault
            fenced = faults.is_fenced(handler)
            with _striking_midway(fault) if midway else _striking(fault, fenced=fenced):
                answer = handler(event, context)
        finally:
            (_FOLDER / f"ended-{called}").touch()
        return {**answer, **fault["answer"]} if fault["way"] == "answer" else answer

    return handle


@contextmanager
def _striking(fault: dict[str, Any], *, fenced: bool) -> Iterator[None]:
    """Strike inside the fence's `effect`; around the handler where it has none."""
    if not fenced:
        _before(fault)
        yield
        _after(fault)
        return

    from snapferry.fence import Fence

    effect = Fence.effect

    @contextmanager
    def faulty_effect(self: Fence, *arguments: Any, **options: Any) -> Iterator[None]:
        with effect(self, *arguments, **options):
            _before(fault)
            yield
            _after(fault)

    Fence.effect = faulty_effect  # type: ignore[method-assign]
    try:
        yield
    finally:
        Fence.effect = effect  # type: ignore[method-assign]


@contextmanager
def _striking_midway(fault: dict[str, Any]) -> Iterator[None]:
    """Strike when so many bulks were answered."""
    from opensearchpy import OpenSearch

    bulk = OpenSearch.bulk
    bulks = itertools.count(1)

    def faulty_bulk(self: OpenSearch, *arguments: Any, **options: Any) -> Any:
        answer = bulk(self, *arguments, **options)
        if next(bulks) == fault["after_bulks"]:
            _after(fault)
        return answer

    OpenSearch.bulk = faulty_bulk  # type: ignore[method-assign]
    try:
        yield
    finally:
        OpenSearch.bulk = bulk  # type: ignore[method-assign]


def _before(fault: dict[str, Any]) -> None:
    if fault["way"] == "linger":
        faults.wait_to_go_on(_FOLDER, fault["taken"])


def _after(fault: dict[str, Any]) -> None:
    match fault["way"]:
        case "raise":
            raise UnexpectedError("the sandbox wants it so")
        case "die":
            os._exit(1)
        case "hang":
            time.sleep(3_600)


_install()
