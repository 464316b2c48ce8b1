"""containerd-shim-aisbx-v1, by which containerd knows us as io.containerd.aisbx.v1.

containerd's own shim does the work. Without a BinaryName it starts `runc`, which it looks up in
its PATH, so that ours is the first there (contract.md 7). It starts itself anew with the same
environment for the task and for the cleanup.
"""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.register.change import Change, of_marked

NAME = "containerd-shim-aisbx-v1"
RUNC = "runc"
# An empty word in PATH would be the current directory, a container's bundle.
_TEXT = """\
#!/bin/sh
PATH={directory}:${{PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}}
export PATH
exec containerd-shim-runc-v2 "$@"
"""
# In every daemon's PATH, and an administrator's own.
DIRECTORY = "/usr/local/bin"
# Where services of systemd look for programs (systemd.exec(5), PATH).
_SEARCHED = ("/usr/local/sbin", DIRECTORY, "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def text(directory: str) -> str:
    """Return the shim, without the mark. `directory` holds `runc`, a link to the runtime."""
    return _TEXT.format(directory="'{}'".format(directory.replace("'", "'\\''")))


def directory_of(library: str) -> str:
    """Return the directory with `runc` of an installation or a checkout."""
    return f"{library}/bin/shim"


def beside(program: str) -> str:
    """Return where the shim of this program lies."""
    return f"{os.path.dirname(program)}/{NAME}"


def change(
    program: str, library: str, directory: str, containerd: str | None, *, remove: bool
) -> Change | None:
    """Return the shim in `directory`; None: containerd finds that of the installation already.

    containerd looks in its own directory and in its PATH.
    """
    found = {*_SEARCHED, os.path.dirname(containerd) if containerd else ""}
    if os.path.dirname(program) in found:
        return None
    return of_marked(f"{directory}/{NAME}", None if remove else text(directory_of(library)), 0o755)
