"""The differences that stay, each with its reason: a fact, who shows it otherwise, and why.

`fact`, `ours` and `theirs` are regular expressions for the whole text; an empty one takes any, and
`none` is a fact that is not shown. In a fact `@` stands for every process looked at: container
init, one entered by flags, one entered by a process.json. An entry which no difference needs any
more fails the test, but for those that are there `sometimes`: by a race of the peer, in generated
bundles only, or on hosts with more controllers.
Written for the peers of Debian 12: runc 1.1.5 and crun 1.8.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integration.differential.comparison import Difference

PEERS = {"runc": "1.1.5", "crun": "1.8.1"}
_PROCESS = r"(init|exec \d|exec of a file \d) "
_ENTERED = r"exec \d "
_FILED = r"exec of a file \d "


class Known:
    """One listed difference."""

    def __init__(
        self,
        peer: str,
        fact: str,
        reason: str,
        *,
        ours: str = "",
        theirs: str = "",
        sometimes: bool = False,
    ) -> None:
        self.peer, self.reason, self.sometimes = peer, reason, sometimes
        self.fact = re.compile(fact.replace("@ ", _PROCESS))
        self.ours = re.compile(ours or r"[\s\S]*")
        self.theirs = re.compile(theirs or r"[\s\S]*")

    def explains(self, one: Difference) -> bool:
        """Tell whether a difference is this one."""
        return (
            self.peer in {one.peer, "both"}
            and self.fact.fullmatch(one.fact) is not None
            and self.ours.fullmatch(_shown(one.ours)) is not None
            and self.theirs.fullmatch(_shown(one.theirs)) is not None
        )

    def __repr__(self) -> str:
        return f"{self.peer}: {self.fact.pattern}: {self.reason}"


def _shown(value: str | None) -> str:
    return "none" if value is None else value


MASKS = [
    Known(
        "both", r"@ file:.*", "an empty directory for masks that nobody may write to is 0755",
        ours="directory 0755 0:0", theirs="directory 1777 0:0",
    ),
    Known(
        "both", r"init mount:.* (data|options|source)",
        "all masks of directories are one read-only tmpfs without an inode to spare",
        ours=r"(.*nr_inodes=1.*|nodev,noexec,nosuid,relatime,ro|none)",
        theirs=r"(gid=\d+,)?(ro|rw,size=0k|relatime,ro|tmpfs)(,uid=\d+)?",
    ),
    Known(
        "runc", r"init mount:.*( source| data| options| root)?",
        "files are masked by the host's null device, never by the container's (CVE-2025-31133)",
        ours=r"(dev|devtmpfs|mode=755,rw|.*nr_inodes=\d{3,}.*|noexec,nosuid,relatime,ro|/null)",
        theirs=r"(tmpfs|mode=755.*|((noexec,)?nosuid,|relatime,)+r[ow]|/differential/.*)",
    ),
    Known(
        "runc", r"@ file:/proc/.*", "the same, with the mode of the container's null device",
        ours="c 1:3 0666 0:0", theirs="c 1:3 0644 0:0",
    ),
    Known(
        "both", r"init mount:/(proc/\w+|etc/passwd) propagation",
        "a mask is nobody's peer: what root mounts on it would cover the host's /dev/null",
        ours="", theirs="master|shared",
    ),
    Known(
        "crun", r"init mount:.* options", "what masks a file is nosuid and noexec as well",
        ours="noexec,nosuid,relatime,ro", theirs="relatime,ro",
    ),
    Known(
        "crun", r"init mount:/opt/below#1.*", "crun masks what lies in a read-only path twice",
        ours="none",
    ),
    Known(
        "crun", r"@ new:/opt/below", "and its second mask, a tmpfs, can be written to",
        ours="EROFS", theirs="ok",
    ),
    Known(
        "crun", r"init mount:.* options",
        "a read-only path keeps the flags that its mount had",
        ours=r"(nodev,)?noexec,nosuid,relatime,ro", theirs="relatime,ro",
    ),
]  # fmt: skip

CGROUPS = [
    Known(
        "both", r"created cgroup\.v2/cpu\.weight(\.nice)?",
        "shares become a weight by the formula of today's runc and crun, where 1024 is 100",
        ours="59|2", theirs="20|7", sometimes=True,
    ),
    Known(
        "runc", r"created cgroup\.devices/devices\.list",
        "runc 1.1.5 allows /dev/net/tun to everybody; the order is that of the rules",
        theirs=r".*c 10:200 rwm.*",
    ),
    Known(
        "runc", r"@ open-(read|write):/node-tun", "runc 1.1.5 allows /dev/net/tun to everybody",
        ours="EPERM", theirs="ok",
    ),
    Known(
        "crun", r"@ open-(read|write):/node-console",
        "crun allows the host's console, 5:1; the container's is a pty",
        ours="EPERM", theirs="ok",
    ),
    Known(
        "runc", r"@ open-(read|write):/node-.*",
        "without rules in config.json there are none here and in crun (config-linux.md asks for "
        "none); runc denies all but its own list",
        ours="ok|ENXIO", theirs="EPERM",
    ),
    Known(
        "runc", r"init mount:/sys/fs/cgroup/unified.*",
        "on a hybrid host the unified hierarchy is shown with the others", theirs="none",
    ),
    Known(
        "runc", r"@ (file|new):/sys/fs/cgroup",
        "the directory of the hierarchies is 0755, and read-only where that is asked for",
        ours="directory 0755 0:0|EROFS", theirs="directory 0555 0:0|EACCES|ok",
    ),
    Known(
        "runc", r"init mount:/sys/fs/cgroup options",
        "`ro` counts for the directory of the hierarchies as well",
        ours="nodev,noexec,nosuid,relatime,ro", theirs="nodev,noexec,nosuid,relatime,rw",
    ),
    Known(
        "runc", r"init mount:/sys/fs/cgroup/.* propagation",
        "cgroup mounts are the container's own, nobody's peers or slaves",
        ours="", theirs="master|shared|shared master",
    ),
    Known("both", r"init mount:/sys/fs/cgroup.* source", "a name that nothing reads"),
    Known(
        "both", r"created cgroup\.v2/(cgroup\.controllers|hugetlb\..*)",
        "below a parent only the controllers are enabled that somebody asked for or engines read",
        ours="|none",
    ),
    Known(
        "both", r"created cgroup\.v2(/(cgroup|memory)\..* owner)?",
        "delegated is what config-linux.md says: a cgroup namespace and a writable mount, to the "
        "user id alone; runc 1.1.5 does not, crun always and the group as well",
    ),
    Known(
        "both", r"@ file:/sys/fs/cgroup", "the same, seen from inside",
        ours=r"directory 0755 (0|65534):65534", theirs=r"directory 0755 .*",
    ),
    Known(
        "both", r"@ (file|mount):/sys/fs/cgroup( root)?",
        "in a user namespace on the host's cgroup namespace only the own cgroup is shown",
        ours="directory 0755 65534:65534|/ID", theirs="directory 0555 65534:65534|/",
    ),
]  # fmt: skip

MOUNTS = [
    Known(
        "crun", r"@ new:/.*", "and is written to by those whom that mode lets write",
        ours="EACCES", theirs="ok", sometimes=True,
    ),
    Known(
        "both", r"init mount:/.* propagation", "rshared is a peer of its source, as it is to be",
        ours="shared", theirs="shared master|", sometimes=True,
    ),
    Known(
        "crun", r"(@ file:/dev/fuse|init mount:/dev/fuse.*)",
        "crun 1.8.1 cannot give a listed device to a user namespace", sometimes=True,
    ),
    Known(
        "runc", r"init mount:/.* propagation", "private is private",
        ours="", theirs="master", sometimes=True,
    ),
    Known(
        "both",
        r"init mount:/atime options",
        "of two modes the last counts, as for mount(8); of two flags the kernel picks another",
        ours="noatime,rw",
        theirs="rw",
    ),
    Known(
        "runc", r"init mount:/sys(/firmware)? data", "the mount is read-only, not the file system",
        ours="rw", theirs="ro",
    ),
    Known(
        "both", r"init mount:/.* propagation",
        "what is bound stays a slave of its source unless told otherwise (rslave is runc's default "
        "for the root); a peer makes the mount private that holds the bundle, here the same",
        ours="master|shared master", theirs="|shared",
    ),
    Known(
        "both", r"init mount:/dev/(null|zero|full|random|urandom|tty|fuse) (options|propagation)",
        "in a user namespace devices are inodes of the host: root must not change them",
        ours="|noexec,nosuid,relatime,ro", theirs="master|(noexec,nosuid,)?relatime,rw",
    ),
    Known(
        "runc", r"@ file:/dev/mqueue", "the queues are those of root of the user namespace",
        ours="directory 1777 0:0", theirs="directory 1777 0:65534",
    ),
    Known(
        "crun", r"init mount:/(data|dev/shm|run|m|n/deep/er|opt|tmp|srv/x|etc/file) options",
        "crun 1.8.1 loses the flags of a bind mount in a user namespace",
        ours=r"(no\w+,)+(relatime,)?r[ow]", theirs="relatime,rw",
    ),
    Known(
        "both", r"init mount:.* data",
        "the mode that a tmpfs takes over from the image is given at once, not by chmod(2)",
        ours=r"(.*,)?mode=\d+.*", theirs=r"(gid=\d+,)?(nr_inodes=\d+,)?rw(,.*)?",
    ),
    Known(
        "crun", r"@ file:.*", "a tmpfs keeps the mode of the image's directory, as in runc",
        ours=r"directory 07.*", theirs="directory 1777 .*",
    ),
    Known(
        "runc", r"@ file:/a/b/c/below", "runc overwrites the mode that was asked for",
        ours="directory 0700 0:0", theirs="directory 0755 0:0",
    ),
    Known(
        "both", r"rootfs left:.*", "what is made for mounts is plain: directories 0755, files 0644",
        ours=r"(d 0755|- 0644) (.*)", theirs=r"(d 1755|- 0755|- 0700) .*",
    ),
    Known("runc", r"create warns", "of destinations that are not absolute", theirs="yes"),
    Known("both", r"@ file:/dev/core", "not in config-linux.md's list of links", ours="none"),
    Known("both", r"rootfs left:/dev/core", "the same, in a /dev of the image", ours="none"),
    Known(
        "crun", r"init mount:/dev/console options", "/dev/console keeps the flags of devpts",
        theirs="relatime,rw",
    ),
]  # fmt: skip

PROCESS = [
    Known(
        "both", r"@ status\.SigIgn", "signals that make(1) has ignored (its posix_spawn ignores "
        "32 and 33, which are glibc's own) are as the kernel starts a program",
        ours="0+", theirs="0*[0-3]80000000", sometimes=True,
    ),
    Known(
        "both", r"@ dumpable",
        "the capabilities that root gets by execve(2) came with the stub's, so that the program's "
        "own is no gain and leaves it dumpable; without that it is as its owner, root",
        ours="1", theirs="0", sometimes=True,
    ),
    Known(
        "both", r"@ (groups|status\.Groups)", "groups are given as they are, twice if so",
        ours="5 7 7 ?", theirs="5 7 ?|",
    ),
    Known(
        "both", r"@ fd:\d",
        "pipes are given to the user, files of the caller to nobody (CVE-2026-88265), and no group",
        ours=r"(pipe|a file) .*", theirs=r"(pipe|a file) .*",
    ),
    Known(
        "both", r"init fd:\d", "TIOCGPTPEER(2) leaves O_CLOEXEC among the status flags",
        ours=r"/dev/pts/0 open 2000002 .*", theirs=r"/dev/pts/0 open 100002 .*",
    ),
    Known(
        "runc", r"exec.* limit\.Max open files", "Go raises the soft limit of what it starts",
        ours=r"\d+ \d+", theirs=r"\d+ \d+", sometimes=True,
    ),
    Known(
        "crun", r"@ environ", "HOME of a user who is in no list is /, as in runc",
        ours=r"(.*\|)?HOME=/\|",
    ),
    Known(
        "crun", r"@ call:unknown", "calls newer than the profile are ENOSYS, as in runc",
        ours="ENOSYS", theirs="EPERM",
    ),
    Known("crun", r"@ execfn", "two slashes", ours="/probe", theirs="//probe"),
    Known(
        "runc", r"@ keyring", "runc lets the user search the session keyring; exec here joins it "
        "by name, before the user is switched",
        theirs=r"keyring \d+ \d+ 3f1b000[08] _ses\.ID|keyring \d+ \d+ 3f130008 _ses\.ID",
    ),
    Known("crun", r"init keyring", "another name", theirs=r"keyring \d+ \d+ 3f1[3b]0000 ID"),
    Known(
        "crun", r"exec.* \d keyring(\.is_of_user)?",
        "crun's exec has the user's own keyring, not the container's",
        theirs=r"keyring \d+ 65534 1f3f0000 _uid_ses\.\d+|yes|E.*|none",
    ),
    Known(
        "both", r"exec.* status\.Umask",
        "exec has the umask of the container's process or of its process.json",
        ours=r"0\d+", theirs="0022",
    ),
    Known(
        "crun", r"exec.* \d (sid|pgid)", "crun's exec stays in the session of its caller",
        ours="own",
    ),
    Known(
        "crun", _ENTERED + r"(limit\..*|status\.NoNewPrivs|proc\.oom_score_adj)",
        "exec by flags has the limits and no_new_privs of the container's process, as in runc",
    ),
    Known(
        "crun", _ENTERED + r"(cwd|proc\.cwd|uid|gid|groups|environ|status\.(Uid|Gid|Groups|Cap.*))",
        "exec by flags is as the container's process but for what the flags say, as in runc",
    ),
    Known(
        "crun", _ENTERED + r"(mknod|new|file|list|bytes|write|entries|open|dumpable|fd|call).*",
        "another user may do other things",
    ),
    Known(
        "both", _FILED + r"proc\.oom_score_adj", "exec has the oomScoreAdj of its process.json",
        ours=r"\d+", theirs="321|0",
    ),
    Known(
        "both", r"init text:/mark|exec .*text:/mark",
        "hooks have no environment but their own (CVE-2025-23266): PATH is the shell's",
    ),
]  # fmt: skip

ANSWERS = [
    Known("runc", r"left cgroup .*", "what was made for a container goes with it, parents too",
          ours="none", theirs="/ID"),
    Known("crun", r"left cgroup v2", "and nothing stays of a failed create", ours="none"),
    Known(
        "crun", r"state \w+\.bundle", "crun 1.8.1 forgets it at times",
        theirs='"/"', sometimes=True,
    ),
    Known("crun", r"state \w+\.(ociVersion|owner|rootfs|systemd-scope)",
          "as runc has it: version 1.0.2-dev, an absolute rootfs, no owner"),
    Known("runc", r"state \w+\.ociVersion", "the version that was implemented"),
    Known(
        "crun", r"state after a failed create.*", "a failed create leaves nothing behind",
        ours=r"fails with 1|none",
        sometimes=True,
    ),
    Known(
        "both", r".* says", "the words are errno names; engines match the sentences of errors.py",
        ours=r"|not found|no such file or directory|permission denied",
    ),
    Known(
        "both", r"start", "what cannot be executed is an error of start (runtime.md)",
        ours="fails with 1", theirs="ok",
    ),
    Known("runc", r"create", "ociVersion is required, and a namespace may be given once",
          ours="fails with 1", theirs="ok"),
    Known("crun", r"create|exec \d", "another exit code for the same failure",
          ours=r"fails with (1|255)", theirs=r"fails with (255|1)"),
    Known("crun", r"create", "a namespace may be given once (config-linux.md)",
          ours="fails with 1", theirs="ok"),
]  # fmt: skip

KNOWN = [*MASKS, *CGROUPS, *MOUNTS, *PROCESS, *ANSWERS]
