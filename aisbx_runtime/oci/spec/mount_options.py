"""The mount options of config.md: what each asks of mount_setattr(2), fsconfig(2) and propagation.

Only meaning lives here; whether a mount can have it, and the system calls, are for `plan`.
"""

from __future__ import annotations

from aisbx_runtime.oci.record import record

# include/uapi/linux/mount.h
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x200000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

# option -> (attributes to set, to clear, attributes that make it say nothing).
# The three atime modes are one field of the mount, so each clears them all, as mount_setattr(2)
# demands. "atime" and "nostrictatime" only leave a mode, for relatime, the kernel's default.
ATTRIBUTES = {
    "ro": (MOUNT_ATTR_RDONLY, 0, 0),
    "rw": (0, MOUNT_ATTR_RDONLY, 0),
    "nosuid": (MOUNT_ATTR_NOSUID, 0, 0),
    "suid": (0, MOUNT_ATTR_NOSUID, 0),
    "nodev": (MOUNT_ATTR_NODEV, 0, 0),
    "dev": (0, MOUNT_ATTR_NODEV, 0),
    "noexec": (MOUNT_ATTR_NOEXEC, 0, 0),
    "exec": (0, MOUNT_ATTR_NOEXEC, 0),
    "nodiratime": (MOUNT_ATTR_NODIRATIME, 0, 0),
    "diratime": (0, MOUNT_ATTR_NODIRATIME, 0),
    "nosymfollow": (MOUNT_ATTR_NOSYMFOLLOW, 0, 0),
    "symfollow": (0, MOUNT_ATTR_NOSYMFOLLOW, 0),
    "noatime": (MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, 0),
    "strictatime": (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME, 0),
    "relatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, 0),
    "atime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, MOUNT_ATTR_STRICTATIME),
    "nostrictatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME),
}
# The same with a leading "r": for the whole tree below (AT_RECURSIVE).
RECURSIVE_ATTRIBUTES = {f"r{name}": effect for name, effect in ATTRIBUTES.items()}

# option -> (superblock flag, whether it is on): those that fs/fs_context.c takes from fsconfig(2).
SUPERBLOCK = {
    "ro": ("ro", True),
    "rw": ("ro", False),
    "sync": ("sync", True),
    "async": ("sync", False),
    "dirsync": ("dirsync", True),
    "lazytime": ("lazytime", True),
    "nolazytime": ("lazytime", False),
    "mand": ("mand", True),
    "nomand": ("mand", False),
}

# option -> (propagation, for the whole tree)
PROPAGATION = {
    "private": (MS_PRIVATE, False),
    "rprivate": (MS_PRIVATE, True),
    "slave": (MS_SLAVE, False),
    "rslave": (MS_SLAVE, True),
    "shared": (MS_SHARED, False),
    "rshared": (MS_SHARED, True),
    "unbindable": (MS_UNBINDABLE, False),
    "runbindable": (MS_UNBINDABLE, True),
}

# Words that ask for a way of mounting rather than for a setting (the last three are crun's).
WAYS = frozenset(
    (
        "bind",
        "rbind",
        "remount",
        "tmpcopyup",
        "idmap",
        "ridmap",
        "copy-symlink",
        "src-nofollow",
        "dest-nofollow",
    )
)

# Known, and nothing to do. "": podman 5.8 sends it. "defaults": what a mount is anyway; so is
# "norelatime", which mount(8) has mean the kernel's default. fsconfig(2) has no words for silent,
# loud, iversion and noiversion (EINVAL): the first two steer the kernel log, the file systems that
# count versions do so by themselves.
IGNORED = frozenset(
    (
        "",
        "defaults",
        "norelatime",
        "rnorelatime",
        "silent",
        "loud",
        "iversion",
        "noiversion",
    )
)


@record
class MountOptions:
    """What a list of options asks for.

    attr_*, rec_attr_*: of mount_setattr(2), for the mount and for the tree below it; a new mount
    (fsmount) takes attr_set. propagation: 0 is unchanged. bind: "bind" or "rbind" is there.
    superblock: flags of a new file system; "ro" is in attr_set as well, and a bind mount has no
    use for any. data: what is left, for the file system, in order.
    """

    attr_set: int = 0
    attr_clr: int = 0
    rec_attr_set: int = 0
    rec_attr_clr: int = 0
    propagation: int = 0
    propagation_recursive: bool = False
    bind: bool = False
    recursive_bind: bool = False
    remount: bool = False
    superblock: tuple[str, ...] = ()
    data: tuple[tuple[str, str | None], ...] = ()
    tmpcopyup: bool = False
    idmap: bool = False
    ridmap: bool = False
    copy_symlink: bool = False
    src_nofollow: bool = False
    dest_nofollow: bool = False


class _Attributes:
    """The attributes asked for so far: a later option takes back an earlier one."""

    def __init__(self) -> None:
        self.set = 0
        self.clr = 0

    def apply(self, effect: tuple[int, int, int]) -> None:
        set_, clear, unless = effect
        if self.set & unless:
            return
        self.set = self.set & ~clear | set_
        self.clr = self.clr & ~set_ | clear


def resolve(options: tuple[str, ...]) -> MountOptions:
    """Return what `options` ask for, where the later of two that exclude each other wins."""
    mount = _Attributes()
    tree = _Attributes()
    superblock: dict[str, bool] = {}
    ways: set[str] = set()
    propagation = (0, False)
    data: list[tuple[str, str | None]] = []
    for option in options:
        if option in SUPERBLOCK:
            flag, on = SUPERBLOCK[option]
            superblock[flag] = on
        if option in ATTRIBUTES:
            mount.apply(ATTRIBUTES[option])
        elif option in RECURSIVE_ATTRIBUTES:
            tree.apply(RECURSIVE_ATTRIBUTES[option])
        elif option in PROPAGATION:
            propagation = PROPAGATION[option]
        elif option in WAYS:
            ways.add(option)
        elif option not in SUPERBLOCK and option not in IGNORED:
            data.append(_data_of(option))
    return MountOptions(
        attr_set=mount.set,
        attr_clr=mount.clr,
        rec_attr_set=tree.set,
        rec_attr_clr=tree.clr,
        propagation=propagation[0],
        propagation_recursive=propagation[1],
        bind="bind" in ways or "rbind" in ways,
        recursive_bind="rbind" in ways,
        remount="remount" in ways,
        superblock=tuple(flag for flag, on in superblock.items() if on),
        data=tuple(data),
        tmpcopyup="tmpcopyup" in ways,
        idmap="idmap" in ways,
        ridmap="ridmap" in ways,
        copy_symlink="copy-symlink" in ways,
        src_nofollow="src-nofollow" in ways,
        dest_nofollow="dest-nofollow" in ways,
    )


def _data_of(option: str) -> tuple[str, str | None]:
    key, equals, value = option.partition("=")
    if not equals:
        return key, None
    # SELinux contexts hold commas, so engines quote them for the data string of mount(2), where
    # the kernel takes the quotes off; fsconfig(2) would not.
    return key, value.strip('"') if key.endswith("context") else value
