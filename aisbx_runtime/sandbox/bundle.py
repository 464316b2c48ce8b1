"""A bundle on a cached rootfs: config.json and the facts, the same for whoever makes one.

No host mount: the overlay is the first mount of config.json, so that it exists in the container's
mount namespace alone, and any OCI runtime makes it.

    BUNDLE/            0700
      config.json
      aisbx.json       the facts (spec/aisbx.schema.json#/$defs/bundle), written first
      rootfs/          an empty directory: what root.path has to name
      upper/ work/     of the overlay: what the sandbox changed
      log              what a detached sandbox writes

C modules only, as in `start`; what is rare is imported where it is needed.
"""

from __future__ import annotations

import posix
import time

from aisbx_runtime.sandbox.defaults import PIDS, SECCOMP, listing, section
from aisbx_runtime.sandbox.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.defaults import Json, Value
    from aisbx_runtime.sandbox.options import Request
    from aisbx_runtime.sandbox.userns import Users

FACTS = "aisbx.json"
VERSION = 1
# What overlay or a comma-joined list of mount options cannot have in a path.
_UNFIT = ":,\\\"'\n"


class Base:
    """An image that sandboxes can start on: its cached rootfs and what its config asks for.

    rootfs: path of the cached rootfs. key: of it, in the store. config: config.json without what
    a sandbox adds. seccomp: linux.seccomp as text, in the place of defaults.SECCOMP.
    entrypoint, cmd: of the image. volumes: place inside, and the path below rootfs that it covers
    (empty: none); each is an overlay of its own, which no snapshot has.
    """

    __slots__ = (
        "cmd", "config", "digest", "entrypoint", "key", "reference", "rootfs", "seccomp", "volumes",
    )  # fmt: skip

    def __init__(
        self,
        *,
        rootfs: str,
        key: str,
        reference: str,
        digest: str,
        config: Json,
        seccomp: str,
        entrypoint: list[str],
        cmd: list[str],
        volumes: list[tuple[str, str]],
    ) -> None:
        self.rootfs = rootfs
        self.key = key
        self.reference = reference
        self.digest = digest
        self.config = config
        self.seccomp = seccomp
        self.entrypoint = entrypoint
        self.cmd = cmd
        self.volumes = volumes


def config_of(
    base: Base, request: Request, path: str, sandbox_id: str, users: Users | None, *, lasting: bool
) -> Json:
    """Return the config.json of a bundle that will lie at path. Changes base.config.

    users: of its user namespace, or None.
    lasting: it is mounted more than once, or what it changed is looked at afterwards.
    """
    config = base.config
    process = section(config, "process")
    process["args"] = list(_args(base, request))
    if request.texts("env"):
        process["env"] = list(_env(listing(process, "env"), request.texts("env")))
    if request.text("workdir") is not None:
        process["cwd"] = _absolute("--workdir", request.text("workdir") or "")
    if request.text("user") is not None:
        _set_user(process, base.rootfs, request.text("user") or "")
    process["terminal"] = _terminal(request)
    config["hostname"] = request.text("hostname") or sandbox_id[:64]
    mounts = [
        *_roots(base, path, users, lasting=lasting),
        *listing(config, "mounts"),
        *_volume_mounts(base, path, users, lasting=lasting),
    ]
    if request.texts("volume"):
        from aisbx_runtime.sandbox.shape import volumes

        mounts += volumes(request.texts("volume"))
    config["mounts"] = mounts
    _set_limits(section(section(config, "linux"), "resources"), request)
    if users is not None:
        from aisbx_runtime.sandbox.userns import apply

        apply(config, users)
    return config


def _roots(base: Base, path: str, users: Users | None, *, lasting: bool) -> list[Value]:
    """Return the mounts that make the root."""
    if users is None:
        return [_overlay("/", base.rootfs, path, lasting=lasting)]
    if users.lacks:
        return []
    if users.own:
        return [_overlay("/", base.rootfs, path, "userxattr", lasting=lasting)]
    from aisbx_runtime.sandbox.userns import id_mapped

    # The overlay's lower layer is what the mount before it shows in the place of BUNDLE/rootfs.
    overlay = _overlay("/", f"{path}/rootfs", path, "userxattr", lasting=lasting)
    return [id_mapped(base.rootfs, users), overlay]


def _volume_mounts(base: Base, path: str, users: Users | None, *, lasting: bool) -> list[Value]:
    if users is not None and users.lacks:
        # The copy is the sandbox's own.
        return []
    rootfs = base.rootfs if users is None or users.own else f"{path}/rootfs"
    more = () if users is None else ("userxattr",)
    return [
        _overlay(
            place,
            f"{rootfs}{covered}" if covered else f"{path}/volumes/{number}/empty",
            f"{path}/volumes/{number}",
            *more,
            lasting=lasting,
        )
        for number, (place, covered) in enumerate(base.volumes)
    ]


def _terminal(request: Request) -> bool:
    if request.flag("detach"):
        if request.flag("tty"):
            raise InputError(
                "--tty needs somebody at the terminal, and --detach leaves",
                hint="leave one of them out; `aisbx exec --tty` gives a terminal later",
            )
        return False
    return request.flag("tty") or (posix.isatty(0) and posix.isatty(1))


def _args(base: Base, request: Request) -> list[str]:
    entrypoint = request.text("entrypoint")
    if entrypoint is not None:
        args = [entrypoint, *request.command] if entrypoint else request.command
    elif request.command:
        args = [*base.entrypoint, *request.command]
    else:
        args = [*base.entrypoint, *base.cmd]
    # An imported directory names no program: umoci's bundles begin with a shell as well.
    return args or ["sh"]


def _env(image: list[Value], given: tuple[str, ...]) -> list[str]:
    values = {str(entry).partition("=")[0]: str(entry) for entry in image}
    for entry in given:
        name, equals, _ = entry.partition("=")
        if not name:
            raise InputError(f"--env {entry!r} names no variable", hint="write NAME=VALUE")
        if equals:
            values[name] = entry
            continue
        # As every engine: the caller's own value, or none.
        value = posix.environ.get(name.encode(errors="surrogateescape"))
        if value is not None:
            values[name] = f"{name}={value.decode(errors='surrogateescape')}"
    return list(values.values())


def _absolute(option: str, path: str) -> str:
    if not path.startswith("/"):
        raise InputError(f"{option} {path!r} is no absolute path", hint="begin it with /")
    return path


def _set_user(process: Json, rootfs: str, text: str) -> None:
    from aisbx_runtime.sandbox.shape import rights
    from aisbx_runtime.sandbox.users import user_of

    process["user"] = user = user_of(rootfs, text)
    process["capabilities"] = rights(user)


def _overlay(destination: str, lower: str, path: str, *more: str, lasting: bool) -> Json:
    for place in (lower, path):
        if any(letter in place for letter in _UNFIT):
            raise InputError(
                "overlay cannot take this path",
                where=place,
                why="it has a colon, comma, quote or backslash",
                hint="name another place by --store or AISBX_STORE",
            )
    return {
        "destination": destination,
        "type": "overlay",
        "source": "overlay",
        "options": [
            # Device nodes of an image are dead.
            "nodev",
            f"lowerdir={lower}",
            f"upperdir={path}/upper",
            f"workdir={path}/work",
            # The upper directory is read by itself: it may not point into the layer below.
            # With userxattr the kernel takes no `off`; what it takes writes none either.
            "redirect_dir=nofollow" if "userxattr" in more else "redirect_dir=off",
            "metacopy=off",
            "index=off",
            # What is removed at the end need not reach the disk: overlay's unmount syncs it.
            *([] if lasting else ["volatile"]),
            *more,
        ],
    }


def _set_limits(resources: Json, request: Request) -> None:
    pids = request.text("pids")
    if pids is None and posix.geteuid() == 0:
        resources["pids"] = {"limit": PIDS}
    if pids is not None or request.text("memory") is not None or request.text("cpus") is not None:
        from aisbx_runtime.sandbox.shape import limits

        resources.update(limits(pids, request.text("memory"), request.text("cpus")))


def facts_of(base: Base, sandbox_id: str, users: Users | None, *, path: str, keep: bool) -> Json:
    """Return what is stored of a bundle that will lie at path."""
    return {
        "version": VERSION,
        "id": sandbox_id,
        "image": {"reference": base.reference, "digest": base.digest},
        "rootfs": base.key,
        "upper": None if users is not None and users.lacks else f"{path}/upper",
        "mapping": None if users is None else users.mapping(),
        "snapshot": None,
        "created": now(),
        "keep": keep,
    }


def now() -> str:
    """Return the present time as RFC 3339 writes it, in whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def fill(directory: str, base: Base, config: Json, facts: Json, users: Users | None) -> int:
    """Write a bundle into an empty directory; return an fd of its facts.

    Nothing is flushed: what a crash spoils is void.
    """
    facts_fd = write(f"{directory}/{FACTS}", text_of(facts))
    try:
        _fill(directory, base, config, users)
    except BaseException:
        posix.close(facts_fd)
        raise
    return facts_fd


def _fill(directory: str, base: Base, config: Json, users: Users | None) -> None:
    posix.close(write(f"{directory}/config.json", config_text(config, base.seccomp)))
    posix.mkdir(f"{directory}/rootfs", 0o700)
    if users is not None and users.lacks:
        from aisbx_runtime.sandbox.userns import copy

        copy(base.rootfs, f"{directory}/rootfs", users)
        return
    _make_layer(directory, base.rootfs, users)
    if base.volumes:
        posix.mkdir(f"{directory}/volumes", 0o711)
    for number, (_, covered) in enumerate(base.volumes):
        place = f"{directory}/volumes/{number}"
        posix.mkdir(place, 0o711)
        posix.mkdir(f"{place}/empty", 0o755)
        _make_layer(place, f"{base.rootfs}{covered}" if covered else f"{place}/empty", users)
    if users is not None:
        # The sandbox's root is no root out here, and has to reach what is its own.
        posix.chmod(directory, 0o711)


def _make_layer(directory: str, lower: str, users: Users | None) -> None:
    """Make upper and work; the mode and owner of upper are those of the mount's root inside."""
    upper, below = f"{directory}/upper", posix.stat(lower)
    posix.mkdir(f"{directory}/work", 0o700)
    posix.mkdir(upper, 0o700)
    if posix.geteuid() == 0 and (below.st_uid or below.st_gid):
        posix.chown(upper, below.st_uid, below.st_gid)
    posix.chmod(upper, below.st_mode & 0o7777)
    if users is not None:
        from aisbx_runtime.sandbox.userns import give

        give(upper, users)
        give(f"{directory}/work", users)


def write(path: str, text: str) -> int:
    """Write a new file for its owner alone; return its fd."""
    flags = posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    fd = posix.open(path, flags, 0o600)
    try:
        data = text.encode()
        while data:
            data = data[posix.write(fd, data) :]
    except BaseException:
        posix.close(fd)
        raise
    return fd


def config_text(config: Json, seccomp: str) -> str:
    """Return config.json: its filter is a third of it, and the same every time."""
    return text_of(config).replace(f'"{SECCOMP}"', seccomp, 1)


def text_of(value: Value) -> str:
    """Return JSON. The json module costs 8 ms, and its C part 0.3."""
    if isinstance(value, str):
        if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
            return f'"{value}"'
        return _escaped(value)
    if isinstance(value, dict):
        fields = [f"{text_of(name)}: {text_of(item)}" for name, item in value.items()]
        return f"{{{', '.join(fields)}}}"
    if isinstance(value, list):
        return f"[{', '.join([text_of(item) for item in value])}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _escaped(text: str) -> str:
    if text == SECCOMP:
        return f'"{SECCOMP}"'
    import _json

    return _json.encode_basestring_ascii(text)
