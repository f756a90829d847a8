"""What a command says: text to people, or JSON to programs."""

import json
from typing import Any

from rich.console import Console

from snapferry.errors import InvalidInput, SnapferryError


class Output:
    """Where a command speaks. People's text is silent when programs listen.

    Attributes:
        as_json: whether programs listen.
        console: where people read.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False, markup=False, soft_wrap=True, quiet=as_json)
        self._errors = Console(highlight=False, markup=False, soft_wrap=True, stderr=True)

    def say(self, text: str) -> None:
        """Tells people."""
        self.console.print(text)

    def give(self, document: Any) -> None:
        """Tells programs: one JSON document on a line of its own."""
        if self.as_json:
            print(json.dumps(document), flush=True)

    def warn(self, text: str) -> None:
        """Tells whoever looks at the standard error output."""
        self._errors.print(text)

    def fail(self, error: SnapferryError) -> None:
        """Says what went wrong, in one line."""
        message = " ".join(str(error).split())
        if self.as_json:
            self.give({"error": type(error).__name__, "message": message})
        else:
            self._errors.print(f"{type(error).__name__}: {message}", style="red")

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Asks the person at the terminal.

        Args:
            question: to be answered by yes or no.
            yes: the answer was given beforehand.

        Raises:
            InvalidInput: there is nobody to ask.
        """
        if yes:
            return True
        if self.as_json:
            raise InvalidInput("with --json nobody is asked: add --yes")
        try:
            return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            raise InvalidInput("nobody is there to be asked: add --yes") from None
