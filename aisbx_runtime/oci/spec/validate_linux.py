"""Rules between the fields of `linux`, and between them and the rest of config.json."""

from __future__ import annotations

from aisbx_runtime.oci.spec import sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import IdMapping, Linux, Spec
    from aisbx_runtime.oci.spec.node import Document, Path

_TAKE_ERRNO = frozenset(("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"))
_ID_COUNT = 1 << 32
_DEVICE_NAME_BYTES = 15  # IFNAMSIZ - 1


def _has(linux: Linux, type_: str) -> bool:
    return any(namespace.type == type_ for namespace in linux.namespaces)


def _makes(linux: Linux, type_: str) -> bool:
    return any(entry.type == type_ and entry.path is None for entry in linux.namespaces)


def namespaces_are_listed_once(spec: Spec, at: Document) -> None:
    # config-linux.md: duplicated types MUST generate an error; a path MUST be absolute.
    seen: set[str] = set()
    for index, namespace in enumerate(spec.linux.namespaces):
        place = ("linux", "namespaces", index)
        if namespace.type in seen:
            raise at.error(place, f"{namespace.type} is there twice")
        seen.add(namespace.type)
        if namespace.path is not None and not namespace.path.startswith("/"):
            raise at.error((*place, "path"), "must be an absolute path")


def host_names_stay_inside(spec: Spec, at: Document) -> None:
    # Without its own UTS namespace the container would rename the host.
    for key, name in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if name is None:
            continue
        if not _has(spec.linux, "uts"):
            raise at.error((key,), "needs a uts namespace", "add one to linux.namespaces")
        if len(name.encode()) > 64:  # sethostname(2): EINVAL
            raise at.error((key,), "is longer than 64 bytes")


def id_mappings_have_a_user_namespace(spec: Spec, at: Document) -> None:
    linux = spec.linux
    mapped = bool(linux.uid_mappings or linux.gid_mappings)
    if mapped and not _has(linux, "user"):
        key = "uidMappings" if linux.uid_mappings else "gidMappings"
        raise at.error(("linux", key), "needs a user namespace", "add one to linux.namespaces")
    if _makes(linux, "user") and not mapped:
        # user_namespaces(7): without a map every id in it is the overflow id.
        raise at.error(
            ("linux", "namespaces"),
            "a new user namespace needs linux.uidMappings and linux.gidMappings",
        )
    _check_ranges(linux.uid_mappings, at, ("linux", "uidMappings"))
    _check_ranges(linux.gid_mappings, at, ("linux", "gidMappings"))


def _check_ranges(mappings: tuple[IdMapping, ...], at: Document, path: Path) -> None:
    # user_namespaces(7): the kernel refuses empty ranges and those beyond 2^32.
    for index, entry in enumerate(mappings):
        if not entry.size:
            raise at.error((*path, index, "size"), "must be greater than 0")
        if max(entry.container_id, entry.host_id) + entry.size > _ID_COUNT:
            raise at.error((*path, index), "reaches beyond the last id")


def mount_mappings_can_be_made(spec: Spec, at: Document) -> None:
    # config.md: uidMappings MUST be specified along with gidMappings; idmap and ridmap without
    # either, and without a user namespace to take them from, MUST be an error.
    for index, mount in enumerate(spec.mounts):
        place = ("mounts", index)
        if bool(mount.uid_mappings) != bool(mount.gid_mappings):
            raise at.error(place, "needs both uidMappings and gidMappings, or none")
        _check_ranges(mount.uid_mappings, at, (*place, "uidMappings"))
        _check_ranges(mount.gid_mappings, at, (*place, "gidMappings"))
        asked = "idmap" in mount.options or "ridmap" in mount.options
        if asked and not mount.uid_mappings and not _has(spec.linux, "user"):
            raise at.error(
                (*place, "options"), "idmap needs uidMappings and gidMappings, or a user namespace"
            )


def covered_paths_are_covered_inside(spec: Spec, at: Document) -> None:
    # config-linux.md: absolute; without a mount namespace they would cover the host's files.
    linux = spec.linux
    for key, paths in (
        ("maskedPaths", linux.masked_paths),
        ("readonlyPaths", linux.readonly_paths),
    ):
        if paths and not _has(linux, "mount"):
            raise at.error(("linux", key), "needs a mount namespace", "add one to linux.namespaces")
        for index, covered in enumerate(paths):
            if not covered.startswith("/"):
                raise at.error(("linux", key, index), "must be an absolute path")


def device_paths_are_absolute(spec: Spec, at: Document) -> None:
    for index, device in enumerate(spec.linux.devices):
        if not device.path.startswith("/"):
            raise at.error(("linux", "devices", index, "path"), "must be an absolute path")


def time_offsets_have_a_new_time_namespace(spec: Spec, at: Document) -> None:
    # time_namespaces(7): offsets can be set only before the first process enters.
    offsets = spec.linux.time_offsets
    if offsets and not _makes(spec.linux, "time"):
        raise at.error(
            ("linux", "timeOffsets"), "needs a new time namespace", "add one to linux.namespaces"
        )
    for name in offsets:
        if name not in ("monotonic", "boottime"):
            raise at.error(("linux", "timeOffsets", name), "expected monotonic or boottime")


def sysctls_stay_inside(spec: Spec, at: Document) -> None:
    # As runc: a sysctl that no namespace of this container holds would change the host.
    for name in spec.linux.sysctl:
        place = ("linux", "sysctl", name)
        path = sysctl.path_of(name)
        if path == "kernel/hostname":
            raise at.error(place, "cannot be set as a sysctl", "use the field hostname")
        if path == "kernel/domainname" and spec.domainname not in {None, spec.linux.sysctl[name]}:
            # As runc and crun: two values for one name.
            raise at.error(place, "conflicts with the field domainname", "give only one of them")
        type_ = sysctl.namespace_of(path)
        if not type_:
            raise at.error(place, "belongs to no namespace: it would change the host")
        if not _has(spec.linux, type_):
            raise at.error(place, f"needs a {type_} namespace", "add one to linux.namespaces")


def net_devices_have_somewhere_to_go(spec: Spec, at: Document) -> None:
    # runtime-spec 1.3, config-linux.md, network devices
    for device in spec.linux.net_devices:
        place = ("linux", "netDevices", device.name)
        if not _has(spec.linux, "network"):
            raise at.error(place, "needs a network namespace", "add one to linux.namespaces")
        for name in (device.name, device.new_name):
            # net/core/dev.c, dev_valid_name
            if len(name.encode()) > _DEVICE_NAME_BYTES or name in (".", "..") or _has_bad(name):
                raise at.error(place, "is not a name that a network device can have")


def _has_bad(name: str) -> bool:
    return any(character in "/:" or character.isspace() for character in name)


def resctrl_schemas_are_lines(spec: Spec, at: Document) -> None:
    # config-linux.md: memBwSchema MUST start with "MB:" and MUST NOT contain newlines.
    rdt = spec.linux.intel_rdt
    if rdt is None:
        return
    place = ("linux", "intelRdt")
    schema = rdt.mem_bw_schema
    if schema and (not schema.startswith("MB:") or "\n" in schema):
        raise at.error((*place, "memBwSchema"), "expected one line that starts with MB:")
    # "/" alone is the default class of service (config-linux.md 1.3).
    if rdt.clos_id != "/" and ("/" in rdt.clos_id or rdt.clos_id in (".", "..")):
        raise at.error((*place, "closID"), "expected the name of a directory")


def errnos_have_an_action_that_returns_them(spec: Spec, at: Document) -> None:
    # config-linux.md: when the action doesn't support an errno, the runtime MUST fail.
    seccomp = spec.linux.seccomp
    if seccomp is None:
        return
    place = ("linux", "seccomp")
    if seccomp.default_errno_ret is not None and seccomp.default_action not in _TAKE_ERRNO:
        raise at.error((*place, "defaultErrnoRet"), f"{seccomp.default_action} returns no errno")
    for index, rule in enumerate(seccomp.syscalls):
        if rule.errno_ret is not None and rule.action not in _TAKE_ERRNO:
            raise at.error(
                (*place, "syscalls", index, "errnoRet"), f"{rule.action} returns no errno"
            )


def listeners_listen(spec: Spec, at: Document) -> None:
    # config-linux.md: listenerMetadata MUST NOT be set without listenerPath, which is what
    # SCMP_ACT_NOTIFY notifies.
    seccomp = spec.linux.seccomp
    if seccomp is None or seccomp.listener_path:
        return
    place = ("linux", "seccomp")
    if seccomp.listener_metadata:
        raise at.error((*place, "listenerMetadata"), "needs listenerPath")
    actions = [rule.action for rule in seccomp.syscalls]
    if "SCMP_ACT_NOTIFY" in (seccomp.default_action, *actions):
        raise at.error(place, "SCMP_ACT_NOTIFY needs listenerPath")


CHECKS = (
    namespaces_are_listed_once,
    host_names_stay_inside,
    id_mappings_have_a_user_namespace,
    mount_mappings_can_be_made,
    covered_paths_are_covered_inside,
    device_paths_are_absolute,
    time_offsets_have_a_new_time_namespace,
    sysctls_stay_inside,
    net_devices_have_somewhere_to_go,
    resctrl_schemas_are_lines,
    errnos_have_an_action_that_returns_them,
    listeners_listen,
)
