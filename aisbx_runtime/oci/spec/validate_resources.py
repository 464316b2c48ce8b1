"""Rules between the limits: of config.json, and of the file of `update --resources`.

Rules that need the limits in force now, or the cgroup version, live in `plan`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import Resources
    from aisbx_runtime.oci.spec.node import Document, Path


def device_rules_say_what(resources: Resources, at: Document, path: Path) -> None:
    for index, rule in enumerate(resources.devices):
        place = (*path, "devices", index)
        if rule.type not in ("a", "b", "c"):
            raise at.error((*place, "type"), "expected a, b or c")
        # An absent access could mean all or nothing: runc refuses it too.
        if not rule.access or set(rule.access) - set("rwm"):
            raise at.error(
                (*place, "access"), "expected some of the letters r, w and m", 'write "rwm"'
            )


def swap_holds_memory(resources: Resources, at: Document, path: Path) -> None:
    # config-linux.md: `swap` is the limit of memory and swap together.
    memory = resources.memory
    if memory is None or memory.limit is None or memory.swap is None:
        return
    if 0 < memory.swap < memory.limit:
        raise at.error(
            (*path, "memory", "swap"),
            f"{memory.swap} is below memory.limit {memory.limit}, which it includes",
        )


def cpu_bandwidth_fits(resources: Resources, at: Document, path: Path) -> None:
    cpu = resources.cpu
    if cpu is None:
        return
    place = (*path, "cpu")
    quota = cpu.quota or 0
    # config-linux.md: a positive quota is no smaller than burst.
    if quota > 0 and (cpu.burst or 0) > quota:
        raise at.error((*place, "burst"), f"is above quota {quota}")
    if cpu.idle not in (None, 0, 1):
        raise at.error((*place, "idle"), "expected 0 or 1")


def weights_are_weights(resources: Resources, at: Document, path: Path) -> None:
    # config-linux.md: from 10 to 1000; engines send 0 for unset.
    block_io = resources.block_io
    if block_io is None:
        return
    place = (*path, "blockIO")
    _check_weight(block_io.weight, at, (*place, "weight"))
    _check_weight(block_io.leaf_weight, at, (*place, "leafWeight"))
    for index, device in enumerate(block_io.weight_device):
        entry = (*place, "weightDevice", index)
        _check_weight(device.weight, at, (*entry, "weight"))
        _check_weight(device.leaf_weight, at, (*entry, "leafWeight"))
        if device.weight is None and device.leaf_weight is None:
            raise at.error(entry, "needs weight or leafWeight")


def _check_weight(weight: int | None, at: Document, path: Path) -> None:
    if weight and not 10 <= weight <= 1000:
        raise at.error(path, "expected a number from 10 to 1000")


def page_sizes_are_sizes(resources: Resources, at: Document, path: Path) -> None:
    # config-linux.md: <size><unit-prefix>B, no leading zero.
    for index, limit in enumerate(resources.hugepage_limits):
        number, unit = limit.page_size[:-2], limit.page_size[-2:]
        is_number = number.isascii() and number.isdigit() and not number.startswith("0")
        if unit not in ("KB", "MB", "GB") or not is_number:
            raise at.error(
                (*path, "hugepageLimits", index, "pageSize"), "expected a page size", 'write "2MB"'
            )


def rdma_limits_limit(resources: Resources, at: Document, path: Path) -> None:
    for limit in resources.rdma:
        if limit.hca_handles is None and limit.hca_objects is None:
            raise at.error((*path, "rdma", limit.device), "needs hcaHandles or hcaObjects")


def unified_names_files(resources: Resources, at: Document, path: Path) -> None:
    # config-linux.md: keys are file names of the unified hierarchy, such as memory.high.
    for name in resources.unified:
        controller, dot, parameter = name.partition(".")
        if "/" in name or not (controller and dot and parameter):
            raise at.error(
                (*path, "unified", name), "expected a file name", 'write "CONTROLLER.PARAMETER"'
            )


CHECKS = (
    device_rules_say_what,
    swap_holds_memory,
    cpu_bandwidth_fits,
    weights_are_weights,
    page_sizes_are_sizes,
    rdma_limits_limit,
    unified_names_files,
)
