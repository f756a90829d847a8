"""The sandbox's own error."""


class SandboxError(Exception):
    """Something the person at the terminal has to know; its text says what to do."""
