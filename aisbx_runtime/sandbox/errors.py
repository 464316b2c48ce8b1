"""What goes wrong in the sandbox, with fields; the text is made where it is printed (cli)."""

from __future__ import annotations


class SandboxError(Exception):
    """A failure that a person can do something about.

    what: one clause, lower case, names the thing. where: image, path or file:line. why: a call and
    its errno, or what a program said. hint: one imperative sentence. exit_code: of the program.
    """

    def __init__(
        self, what: str, *, where: str = "", why: str = "", hint: str = "", exit_code: int = 1
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        text = self.what
        if self.where:
            text += f" ({self.where})"
        if self.why:
            text += f": {self.why}"
        return text


class InputError(SandboxError):
    """What was given is wrong: an image, a layer, a name, an option. Nothing was changed."""


class NotFoundError(SandboxError):
    """What was named is not there."""


class HostError(SandboxError):
    """This machine cannot do it, or does not have it now: a program, space, a kernel feature."""
