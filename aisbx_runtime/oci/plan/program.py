"""The program: which file is executed, looked up in create, so that a missing one fails there."""

from __future__ import annotations

import errno
import stat

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import (
    IS_A_DIRECTORY,
    NO_SUCH_PROGRAM,
    NOT_EXECUTABLE,
    NOT_IN_PATH,
    CommandError,
    kernel_error,
)
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Process


@record
class FindProgram:
    """Look up the program, so that a missing one already fails in create, in runc's words."""

    name: str
    search: str | None
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"look up the program {self.name}"

    def apply(self, at: World) -> None:
        """Find it as execvp(3) would, with the PATH of the process."""
        at.program = self._with_slash() if "/" in self.name else self._in_path()

    def _with_slash(self) -> str:
        path = self.name if self.name.startswith("/") else os.path.join(os.getcwd(), self.name)
        try:
            found = os.stat(path)
        except PermissionError:
            raise CommandError(NOT_EXECUTABLE.format(name=self.name)) from None
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                raise kernel_error(error.errno or 0, "stat", self.name) from None
            raise CommandError(NO_SUCH_PROGRAM.format(name=self.name)) from None
        if stat.S_ISDIR(found.st_mode):
            raise CommandError(IS_A_DIRECTORY.format(name=self.name))
        if not _is_executable(path):
            raise CommandError(NOT_EXECUTABLE.format(name=self.name))
        return path

    def _in_path(self) -> str:
        refused = False
        # Without a PATH nothing is searched, as in runc: least of all the working directory.
        for directory in self.search.split(":") if self.search else ():
            path = os.path.join(os.getcwd(), directory, self.name)
            try:
                found = os.stat(path)
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                if _is_executable(path):
                    return path
                refused = True
        sentence = NOT_EXECUTABLE if refused else NOT_IN_PATH
        raise CommandError(sentence.format(name=self.name))


def _is_executable(path: str) -> bool:
    # Without no_new_privs the container's filter sees us here, and one older than faccessat2(2)
    # answers EPERM, which looks like a no. access(2) asks the same: all our user ids are one.
    return os.access(path, os.X_OK, effective_ids=True) or os.access(path, os.X_OK)


def path_of(process: Process) -> str | None:
    """Return PATH of the process's environment; the last one counts, as in execve's reader."""
    for entry in reversed(process.env):
        if entry.startswith("PATH="):
            return entry[5:]
    return None


def steps(process: Process) -> list[Step]:
    """Return the look-up of the first word."""
    return [FindProgram(process.args[0], path_of(process), "process.args[0]")]
