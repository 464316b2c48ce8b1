"""Which systemd is meant: the system's, or that of the user who runs the runtime; and where."""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.host import read_text
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.systemd.bus import TIMEOUT_S, WITHOUT, Bus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host

_SYSTEM = ("unix:path=/run/systemd/private", "unix:path=/run/dbus/system_bus_socket")
_INIT_SCOPE = "/init.scope"


@record
class Instance:
    """One systemd that manages cgroups: its address, and the cgroup that all its units are below.

    `cgroup` is as in /proc/PID/cgroup, "" for the root of the hierarchy.
    """

    user: bool
    address: str
    cgroup: str


def detect(host: Host) -> Instance:
    """Return the systemd that this caller's units belong to. Raises HostError without one."""
    if not host.unified:
        raise HostError(
            f"the systemd cgroup manager needs cgroup v2 alone ({WITHOUT})",
            where="/sys/fs/cgroup",
            hint="boot with systemd.unified_cgroup_hierarchy=1",
        )
    # sd_booted(3).
    if not os.path.isdir("/run/systemd/system"):
        raise HostError(
            f"the systemd cgroup manager needs a systemd, and none runs here ({WITHOUT})",
            where="/run/systemd/system",
            hint="this is a container without systemd in it, or the init is another",
        )
    user = is_user(host)
    with connect(addresses(user=user)) as bus:
        if not bus.peer_pid():
            raise HostError(
                f"systemd at {bus.address} is outside of this pid namespace ({WITHOUT})",
                hint="it would take another process for container init: run the runtime beside it",
            )
        cgroup = _cgroup_of(bus)
        return Instance(user, bus.address, cgroup.removesuffix(_INIT_SCOPE).rstrip("/"))


def is_user(host: Host) -> bool:
    """Tell whether units go to a user's systemd: without root, or with a mapped one.

    podman rootless calls the runtime as root of its own user namespace (contract.md 8); a systemd
    in a container is the system's to those in there, and they have no runtime directory.
    """
    if host.euid != 0:
        return True
    known = os.environment("XDG_RUNTIME_DIR") or os.environment("DBUS_SESSION_BUS_ADDRESS")
    return host.user_namespace and bool(known)


def addresses(*, user: bool) -> tuple[str, ...]:
    """Return where to look for it, the best first.

    systemd's own socket comes first, as it does for systemctl: one process less is in the way, and
    it answers when the bus does not. An address in the environment that is not the usual one was
    put there for a reason, and comes before.
    """
    if not user:
        named, usual = os.environment("DBUS_SYSTEM_BUS_ADDRESS"), _SYSTEM
    else:
        named = os.environment("DBUS_SESSION_BUS_ADDRESS")
        directory = os.environment("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
        usual = (f"unix:path={directory}/systemd/private", f"unix:path={directory}/bus")
    if not named or named.split(",guid=", 1)[0] in usual:
        return usual
    return (named, *usual)


def connect(places: tuple[str, ...], *, timeout_s: float = TIMEOUT_S) -> Bus:
    """Return a connection to the first that listens. Raises HostError."""
    tried: list[str] = []
    for address in places:
        try:
            return Bus(address, timeout_s)
        except TimeoutError:
            tried.append(f"{address}: no answer for {timeout_s:g} s")
        except OSError as error:
            tried.append(f"{address}: {errno.errorcode.get(error.errno or 0, str(error))}")
    raise HostError(
        f"cannot reach systemd over D-Bus ({WITHOUT})",
        why="; ".join(tried),
        hint="systemctl start dbus; for a user: log in by systemd, or call loginctl enable-linger, "
        "and set XDG_RUNTIME_DIR=/run/user/UID",
    )


def _cgroup_of(bus: Bus) -> str:
    """Return the cgroup of a systemd, with or without the scope that it is in itself."""
    if bus.direct:
        # The listener is systemd itself, and its cgroup is told without asking.
        try:
            for line in read_text(f"/proc/{bus.peer_pid()}/cgroup").splitlines():
                if line.startswith("0::") and line.endswith(_INIT_SCOPE):
                    return line.removeprefix("0::")
        except OSError:
            # hidepid: it is asked instead.
            pass
    return bus.manager_property("ControlGroup")
