"""What config.json may ask for and this version does not do: refused aloud, never dropped."""

from __future__ import annotations

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.plan.mounts import is_bind
from aisbx_runtime.oci.spec.mount_options import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import Process, Spec

# setresuid(2), setgroups(2): -1 as an unsigned number.
_UNCHANGED = (1 << 32) - 1
# include/linux/kdev_t.h
_MAX_MAJOR, _MAX_MINOR = (1 << 12) - 1, (1 << 20) - 1


def check(spec: Spec) -> None:
    """Raise SpecError for the first field that asks for something that is not there."""
    asked: dict[str, object] = {
        "linux.personality": spec.linux.personality,
        "linux.intelRdt": spec.linux.intel_rdt,
        "linux.memoryPolicy": spec.linux.memory_policy,
        "linux.netDevices": spec.linux.net_devices,
        "linux.mountLabel": spec.linux.mount_label,
    }
    for index, one in enumerate(spec.mounts):
        options = resolve(one.options)
        special = options.idmap or options.ridmap or one.uid_mappings or one.gid_mappings
        asked[f"mounts[{index}]: id mapped mounts"] = special
        asked[f"mounts[{index}].options: copy-symlink"] = options.copy_symlink
        asked[f"mounts[{index}].options: src-nofollow"] = options.src_nofollow
        asked[f"mounts[{index}].options: dest-nofollow"] = options.dest_nofollow
    _refuse(asked)
    _check_sources(spec)
    _check_device_numbers(spec)
    if spec.process is not None:
        check_process(spec.process)


def check_process(process: Process) -> None:
    """Raise SpecError for what a process asks for in vain."""
    _refuse(
        {
            "process.scheduler": process.scheduler,
            "process.ioPriority": process.io_priority,
            "process.execCPUAffinity": process.exec_cpu_affinity,
        }
    )
    _check_ids(process)


def _check_ids(process: Process) -> None:
    user = process.user
    ids = [("uid", user.uid), ("gid", user.gid)]
    ids.extend(
        [(f"additionalGids[{index}]", gid) for index, gid in enumerate(user.additional_gids)]
    )
    for name, number in ids:
        if number == _UNCHANGED:
            raise SpecError(
                f"process.user.{name}: {number} is no id: to the kernel it means no change",
                where="config.json",
                hint="name the id that the process shall have",
            )


def _check_sources(spec: Spec) -> None:
    for index, one in enumerate(spec.mounts):
        if is_bind(one) and not one.source:
            raise SpecError(
                f"mounts[{index}].source: empty, and this is a bind mount",
                where="config.json",
                hint="name what is to be bound",
            )


def _check_device_numbers(spec: Spec) -> None:
    for index, one in enumerate(spec.linux.devices):
        if one.type != "p" and (one.major > _MAX_MAJOR or one.minor > _MAX_MINOR):
            # mknod(2) would cut the number and make another device.
            raise SpecError(
                f"linux.devices[{index}]: the kernel has no device {one.major}:{one.minor}",
                where="config.json",
                hint=f"majors end at {_MAX_MAJOR}, minors at {_MAX_MINOR}",
            )


def _refuse(asked: dict[str, object]) -> None:
    for name, value in asked.items():
        if value:
            raise SpecError(
                f"{name}: not supported in this version",
                where="config.json",
                hint="remove it from config.json",
            )
