"""What config.json may ask for and this version does not do: refused aloud, never dropped."""

from __future__ import annotations

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.plan.mounts import is_bind, maps_ids
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
        "linux.mountLabel": spec.linux.mount_label,
    }
    if spec.linux.intel_rdt is not None:
        # Gone from the runtime spec with 1.3: nobody ever did what they say.
        asked["linux.intelRdt.enableCMT"] = spec.linux.intel_rdt.enable_cmt
        asked["linux.intelRdt.enableMBM"] = spec.linux.intel_rdt.enable_mbm
    _refuse(asked)
    _check_sources(spec)
    _check_ways(spec)
    _check_device_numbers(spec)
    if spec.process is not None:
        check_process(spec.process)


def check_process(process: Process) -> None:
    """Raise SpecError for what a process asks for in vain."""
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
        if is_bind(one) and not one.source and "remount" not in one.options:
            raise SpecError(
                f"mounts[{index}].source: empty, and this is a bind mount",
                where="config.json",
                hint="name what is to be bound",
            )


def _check_ways(spec: Spec) -> None:
    for index, one in enumerate(spec.mounts):
        options = resolve(one.options)
        binds = is_bind(one) and not options.remount
        ways = {
            "idmap": maps_ids(one, options),
            "copy-symlink": options.copy_symlink,
            "src-nofollow": options.src_nofollow,
            "dest-nofollow": options.dest_nofollow,
        }
        for way, wanted in ways.items():
            if wanted and not binds:
                raise SpecError(
                    f"mounts[{index}]: {way} is for bind mounts",
                    where="config.json",
                    hint=f"remove it, or make {one.destination} a bind mount",
                )
        for key, _ in options.data:
            if binds and key in {"idmap", "ridmap"}:
                raise SpecError(
                    f"mounts[{index}].options: {key}= with mappings of its own is not supported",
                    where="config.json",
                    hint=f'write "{key}", with uidMappings and gidMappings beside options',
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
