"""The directory of a process's LSM attributes, for the stub. Imported only where there is a label.

What is written there lives in `plan.lsm`.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.plan.lsm import DIRECTORIES


def open_directory(pid: int, lsm: str) -> int:
    """Return an fd of /proc/PID/attr, or of the LSM's own directory in it.

    A mount of its own: no `..` leads from it to other processes, should somebody who may trace the
    stub get hold of it. Without the right to mount it is the plain directory. Raises KernelError.
    """
    paths = [f"/proc/{pid}/{directory}" for directory in DIRECTORIES[lsm]]
    path = next((one for one in paths if os.path.isdir(one)), paths[-1])
    try:
        return mount.open_tree(mount.AT_FDCWD, path, mount.OPEN_TREE_CLONE)
    except KernelError as error:
        if error.errno != errno.EPERM:
            raise
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
