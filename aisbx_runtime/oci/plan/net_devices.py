"""`linux.netDevices`: network devices that are moved into the container.

They are never moved back: they belong to the network namespace from then on (config-linux.md).
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import SpecError, StepError, kernel_error
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWNET, setns
from aisbx_runtime.oci.kernel.netlink import IFA_F_PERMANENT, RT_SCOPE_UNIVERSE, Socket
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.kernel.netlink import Address, Link
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import NetDevice


@record
class MoveNetDevice:
    """Move a device into the container's network namespace, with its addresses, and set it up."""

    name: str
    new_name: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        renamed = f" as {self.new_name}" if self.new_name != self.name else ""
        return f"move network device {self.name} into the container{renamed}"

    def apply(self, at: World) -> None:
        """Ask the kernel by netlink, in both namespaces. See rtnetlink(7)."""
        namespace_fd = at.namespace_fds.get("network", -1)
        own = namespace_fd < 0
        if own:
            path = f"/proc/{at.pid}/ns/net"
            namespace_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        here = Socket()
        try:
            there = _socket_in(namespace_fd)
            try:
                self._move(here, there, namespace_fd)
            finally:
                there.close()
        finally:
            here.close()
            if own:
                os.close(namespace_fd)

    def _move(self, here: Socket, there: Socket, namespace_fd: int) -> None:
        device = _find(here.links(), self.name)
        if device is None:
            raise StepError(
                f"there is no network device {self.name}",
                hint="make it first, or correct its name",
            )
        taken = there.links()
        if _find(taken, self.new_name) is not None:
            # The kernel would find out when the device has been moved already.
            raise kernel_error(errno.EEXIST, "RTM_SETLINK", self.new_name)
        addresses = [one for one in here.addresses(device.index) if _is_permanent(one)]
        index = _free_index(device.index, [one.index for one in taken])
        here.move(device.index, namespace_fd=namespace_fd, new_name=self.new_name, new_index=index)
        for one in addresses:
            there.add_address(index, one)
        there.set_up(index)


def _socket_in(namespace_fd: int) -> Socket:
    """Return a socket of another network namespace; this process is back in its own."""
    own_fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Where the way back is not ours to go (podman's user namespace) this already fails.
        setns(own_fd, CLONE_NEWNET, path="/proc/self/ns/net")
        setns(namespace_fd, CLONE_NEWNET)
        try:
            return Socket()
        finally:
            setns(own_fd, CLONE_NEWNET)
    finally:
        os.close(own_fd)


def _find(links: list[Link], name: str) -> Link | None:
    return next((one for one in links if one.name == name), None)


def _is_permanent(address: Address) -> bool:
    return bool(address.flags & IFA_F_PERMANENT) and address.scope == RT_SCOPE_UNIVERSE


def _free_index(wanted: int, taken: list[int]) -> int:
    return wanted if wanted not in taken else max(taken) + 1


def steps(devices: tuple[NetDevice, ...]) -> list[Step]:
    """Return one step for each device. Raises SpecError for a template that is none."""
    for one in devices:
        # net/core/dev.c, __dev_alloc_name: one %d, and no other.
        if "%" in one.new_name and (one.new_name.count("%") > 1 or "%d" not in one.new_name):
            raise SpecError(
                f'linux.netDevices[{one.name!r}].name: "{one.new_name}" is no name for a device',
                where="config.json",
                hint="write %d where the kernel shall put a number, and no other %",
            )
    return [
        MoveNetDevice(one.name, one.new_name, f"linux.netDevices[{one.name!r}]") for one in devices
    ]
