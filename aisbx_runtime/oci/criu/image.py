"""Looking into what criu has written. Everything else in there is criu's own matter."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.criu import wire

_CGROUP = "cgroup.img"
# criu's documentation, "Images": two magic numbers, then the size of each message before it.
_MAGIC_BYTES = 8
_SIZE_BYTES = 4
# images/cgroup.proto: cgroup_entry.controllers, cg_controller_entry.dirs, cgroup_dir_entry.dir_name
_CONTROLLERS, _DIRECTORIES, _NAME = 2, 2, 1
_MOST_BYTES = 16 << 20


def cgroup_heads(image_fd: int) -> list[str]:
    """Return the paths of the cgroups that criu has saved, without those below them.

    None: criu has left them out, and can make none again. Raises OSError but ENOENT.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(_CGROUP, flags, dir_fd=image_fd)
    except FileNotFoundError:
        return []
    try:
        start = _MAGIC_BYTES + _SIZE_BYTES
        size = int.from_bytes(os.pread(fd, _SIZE_BYTES, _MAGIC_BYTES), "little")
        message = os.pread(fd, min(size, _MOST_BYTES), start)
    finally:
        os.close(fd)
    try:
        return [
            f"/{name.decode(errors='replace').strip('/')}"
            for controller in wire.contents_of(message, _CONTROLLERS)
            for directory in wire.contents_of(controller, _DIRECTORIES)
            for name in wire.contents_of(directory, _NAME)
        ]
    except ValueError:
        # Damaged, which criu will say in its own words.
        return []
