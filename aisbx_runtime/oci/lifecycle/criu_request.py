"""What checkpoint and restore share: flags, the directories they name, options both give criu."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.criu import CONFIG_ANNOTATION, messages
from aisbx_runtime.oci.criu.messages import Options
from aisbx_runtime.oci.errors import Failure, UsageError, why_of
from aisbx_runtime.oci.flags import BOOL, LIST, TEXT, Flag
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWNET
from aisbx_runtime.oci.plan import namespaces, rootfs
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.flags import Values
    from aisbx_runtime.oci.spec.model import Spec

FLAGS = (
    Flag(("image-path",), TEXT, "directory of the image (default checkpoint)"),
    Flag(("work-path",), TEXT, "directory for criu's log and statistics (default the image's)"),
    Flag(("tcp-established",), BOOL, "take open TCP connections along"),
    Flag(("ext-unix-sk",), BOOL, "allow unix sockets whose other end is outside"),
    Flag(("shell-job",), BOOL, "allow a terminal that is not the container's"),
    Flag(("file-locks",), BOOL, "take file locks along"),
    Flag(("manage-cgroups-mode",), TEXT, "soft, full, strict or ignore: who makes cgroups below"),
    Flag(("empty-ns",), LIST, "network: accepted, that namespace is always made anew"),
    Flag(("auto-dedup",), BOOL, "free the parent image of the pages that are here again"),
    Flag(("lazy-pages",), BOOL, "move the memory when it is asked for: see criu-lazy-pages(1)"),
    Flag(("network-lock",), TEXT, "iptables, nftables or skip: how connections are held"),
)
# Where users put options that no engine passes (runc: /etc/criu/runc.conf); it need not exist.
CONFIG_FILE = "/etc/criu/aisbx.conf"
DESCRIPTORS = "descriptors.json"
_DEFAULT_DIRECTORY = "checkpoint"
_LOG_LEVEL = 4


@record
class Places:
    """The directories of one request, open; `log` is the path of criu's log."""

    image: str
    image_fd: int
    work: str
    work_fd: int
    log: str

    def directories(self) -> tuple[tuple[int, str], ...]:
        """Return (fd, path) of both."""
        return (self.image_fd, self.image), (self.work_fd, self.work)


def open_places(values: Values, log: str, *, make_image: bool) -> Places:
    """Open, and make, what the flags name. Raises Failure."""
    image = os.path.abspath(values.text("image-path") or _DEFAULT_DIRECTORY)
    work = os.path.abspath(values.text("work-path") or image)
    image_fd = _open(image, "--image-path", make=make_image)
    work_fd = _open(work, "--work-path", make=True)
    return Places(image, image_fd, work, work_fd, f"{work}/{log}")


def _open(path: str, flag: str, *, make: bool) -> int:
    try:
        if make:
            os.makedirs(path, 0o700)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Failure(
            f"cannot use the directory {path}",
            where=flag,
            why=why_of(error),
            hint="" if make else "name the directory that checkpoint has written",
        ) from None


def common_options(values: Values, spec: Spec, places: Places) -> Options:
    """Return what criu is told in both directions. Raises UsageError."""
    options = Options()
    options.number("images_dir_fd", places.image_fd)
    options.number("work_dir_fd", places.work_fd)
    options.text("log_file", os.path.basename(places.log))
    options.number("log_level", _LOG_LEVEL)
    options.number("notify_scripts", 1)
    options.number("orphan_pts_master", 1)
    for flag in ("tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup",
                 "lazy-pages"):  # fmt: skip
        if values.flag(flag):
            options.number(flag.replace("-", "_"), 1)
    lock = values.text("network-lock")
    if lock:
        options.number("network_lock", _word(messages.NETWORK_LOCKS, "--network-lock", lock))
    for kind in values.list("empty-ns"):
        if kind != "network":
            raise UsageError(f"--empty-ns {kind}: only the network namespace can be made anew")
    if namespaces.is_new(spec, "network"):
        # Its devices and addresses are the engine's, whose hooks and netDevices make them again.
        options.number("empty_ns", CLONE_NEWNET)
    config = spec.annotations.get(CONFIG_ANNOTATION, CONFIG_FILE)
    if config:
        options.text("config_file", config)
    return options


def set_cgroup_mode(options: Options, values: Values, default: str) -> str:
    """Set what criu does about cgroups; return the mode. Raises UsageError."""
    mode = values.text("manage-cgroups-mode") or default
    number = _word(messages.CGROUP_MODES, "--manage-cgroups-mode", mode)
    options.number("manage_cgroups_mode", number)
    return mode


def _word(table: dict[str, int], flag: str, word: str) -> int:
    if word not in table:
        raise UsageError(f"{flag} {word}: no such word", hint=f"write {', '.join(table)}")
    return table[word]


def check_namespaces(spec: Spec, verb: str) -> None:
    """Refuse a container that criu would not bring back as it was. Raises Failure."""
    for index, one in enumerate(spec.linux.namespaces):
        if one.type == "user":
            raise Failure(
                f"cannot {verb} a container that has a user namespace",
                where=f"linux.namespaces[{index}]",
                hint="criu reads its image with the container's rights there, and may not",
            )
        if one.path and one.type in {"mount", "cgroup"}:
            raise Failure(
                f"cannot {verb} a container that has joined a {one.type} namespace",
                where=f"linux.namespaces[{index}].path",
                hint="criu cannot restore into one that is there already",
            )
    if not rootfs.has_mount_namespace(spec):
        raise Failure(
            f"cannot {verb} a container without a mount namespace",
            where="linux.namespaces",
            hint="criu would take all mounts of the host for the container's",
        )
