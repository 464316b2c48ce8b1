"""Bind mounts of a symlink: `copy-symlink` makes the link anew. What is no symlink is bound."""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, kernel_error
from aisbx_runtime.oci.kernel.path import make_dirs_in_root, split
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.mounts import BindMount
    from aisbx_runtime.oci.plan.sources import OpenSource
    from aisbx_runtime.oci.plan.step import World


@record
class ReadSymlink:
    """Read a source that is a symlink, and take any other."""

    other: OpenSource

    @property
    def origin(self) -> str:
        """The JSON path that asks for it."""
        return self.other.origin

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"read the symlink {self.other.source}, or {self.other.describe()}"

    def apply(self, at: World) -> None:
        """Read it, by the rights of the runtime's caller. See readlink(2)."""
        try:
            at.links[self.other.key] = os.readlink(self.other.source)
        except OSError as error:
            # EINVAL: no symlink. What else is wrong with it open_tree says better.
            if error.errno not in {errno.EINVAL, errno.ENOENT}:
                raise kernel_error(error.errno or 0, "readlink", self.other.source) from None
            self.other.apply(at)


@record
class CopySymlink:
    """Make the symlink that was read, or bind what was taken."""

    other: BindMount

    @property
    def origin(self) -> str:
        """The JSON path that asks for it."""
        return self.other.origin

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"copy the symlink {self.other.source} to {self.other.target}, or bind it there"

    def apply(self, at: World) -> None:
        """Make it; one with the same content may be there. Raises Failure for anything else."""
        content = at.links.pop(self.other.key, None)
        if content is None:
            self.other.apply(at)
            return
        target = self.other.target
        parent, name = split(target)
        parent_fd = make_dirs_in_root(at.root_fd, parent)
        try:
            os.symlink(content, name, dir_fd=parent_fd)
        except FileExistsError:
            _check_same(parent_fd, name, content, target)
        except OSError as error:
            raise kernel_error(error.errno or 0, "symlinkat", target) from None
        finally:
            os.close(parent_fd)


def _check_same(parent_fd: int, name: str, content: str, target: str) -> None:
    try:
        found = os.readlink(name, dir_fd=parent_fd)
    except OSError:
        # A file or a directory.
        found = ""
    if found != content:
        what = f"a symlink to {found}" if found else "no symlink"
        raise Failure(
            f"cannot copy a symlink to {target}: what is there is {what}, not one to {content}",
            hint=f"remove {target} from the image, or choose another destination",
        )
