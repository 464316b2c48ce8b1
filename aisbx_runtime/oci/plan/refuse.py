"""What config.json may ask for and this version does not do: refused aloud, never dropped."""

from __future__ import annotations

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.spec.mount_options import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import Process, Spec


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


def _refuse(asked: dict[str, object]) -> None:
    for name, value in asked.items():
        if value:
            raise SpecError(
                f"{name}: not supported in this version",
                where="config.json",
                hint="remove it from config.json",
            )
