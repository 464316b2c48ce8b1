"""Fetch OCI's validation programs and runc's bats suite with apt, and build them. No test is here.

Everything lands in a scratch directory outside the checkout and nothing of it is ever committed:
the source packages, the Go compiler and the Go libraries they need, all of one Debian suite, by a
private configuration of apt. The mirror is the host's own: only the name of the suite is another.
What apt has brought is kept, so that the next run needs no network.
"""

from __future__ import annotations

import glob
import os
import platform
import shutil
import subprocess
import sys
import time

from integration import debian

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = "golang-github-opencontainers-runtime-tools"
LIBRARIES = (
    "blang-semver",
    "cilium-ebpf",
    "containerd-console",
    "coreos-go-systemd",
    "cyphar-filepath-securejoin",
    "docker-go-units",
    "google-uuid",
    "hashicorp-go-multierror",
    "moby-sys",
    "mrunalp-fileutils",
    "opencontainers-selinux",
    "opencontainers-specs",
    "seccomp-libseccomp-golang",
    "sirupsen-logrus",
    "stretchr-testify",
    "urfave-cli",
    "vishvananda-netlink",
    "xeipuuv-gojsonschema",
)
MORE_LIBRARIES = (
    "golang-dbus-dev",
    "golang-gocapability-dev",
    "golang-golang-x-net-dev",
    "golang-golang-x-sys-dev",
    "golang-google-protobuf-dev",
)
# What the one test with a Debian rootfs (hooks.bats) runs: sh, ldconfig, grep.
ROOTFS = ("base-files", "dash", "grep", "libc-bin", "libc6", "libpcre2-8-0", "libselinux1")
HELPERS = ("recvtty", "sd-helper", "seccompagent")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
USERS = ("root:x:0:0:root:/root:/bin/sh", "nobody:x:65534:65534:nobody:/home:/bin/false")
GROUPS = ("root:x:0:", "tty:x:5:", "nogroup:x:65534:")


def say(text: str) -> None:
    print(f"conformance: {time.strftime('%H:%M:%S')} {text}", flush=True)


def refuse(text: str) -> None:
    sys.exit(f"conformance: {text}")


class Scratch:
    """The places below one scratch directory."""

    def __init__(self, path: str, suite: str) -> None:
        self.top = os.path.abspath(path)
        self.suite = suite
        self.apt = os.path.join(self.top, suite, "apt")
        self.sources = os.path.join(self.top, suite, "sources")
        self.go = os.path.join(self.top, suite, "go")
        self.gopath = os.path.join(self.go, "usr/share/gocode")
        self.programs = os.path.join(self.top, suite, "validation")
        self.ready = os.path.join(self.top, suite, "ready")

    @property
    def runc(self) -> str:
        return os.path.join(self.sources, "runc")

    @property
    def tools(self) -> str:
        return os.path.join(self.sources, TOOLS)

    @property
    def environment(self) -> dict[str, str]:
        (root,) = glob.glob(os.path.join(self.go, "usr/lib/go-[0-9]*"))
        return {
            **os.environ,
            "PATH": f"{root}/bin:{os.environ['PATH']}",
            "GOROOT": root,
            "GOPATH": self.gopath,
            "GOCACHE": os.path.join(self.top, "gocache"),
            "GO111MODULE": "off",
            "GOFLAGS": "",
            "GOTOOLCHAIN": "local",
        }


# ---- apt -----------------------------------------------------------------------------------------


def apt(scratch: Scratch, *words: str, cwd: str | None = None, check: bool = True) -> None:
    places = {
        "Dir::Etc::sourcelist": f"{scratch.apt}/sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": f"{scratch.apt}/lists",
        # Nothing is installed: apt then brings whatever the wanted packages depend on.
        "Dir::State::status": f"{scratch.apt}/status",
        "Dir::Cache": scratch.apt,
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
    }
    options = [word for name, value in places.items() for word in ("-o", f"{name}={value}")]
    done = subprocess.run(
        ["apt-get", "-q", "-y", *options, *words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    if check and done.returncode:
        refuse(f"apt-get {' '.join(words[:3])} ... fails:\n{done.stdout[-2000:]}")


def fetch(scratch: Scratch) -> None:
    for path in ("lists/partial", "archives/partial"):
        os.makedirs(os.path.join(scratch.apt, path), exist_ok=True)
    os.makedirs(scratch.sources, exist_ok=True)
    uri, options = debian.mirror()
    with open(f"{scratch.apt}/sources.list", "w", encoding="utf-8") as file:
        file.writelines(f"{kind} {options} {uri} {scratch.suite} main\n" for kind in SOURCE_KINDS)
    with open(f"{scratch.apt}/status", "w", encoding="utf-8"):
        pass
    say(f"apt-get update ({scratch.suite})")
    apt(scratch, "update")
    for name in ("runc", TOOLS):
        say(f"fetching the source package {name}")
        # Without its .dsc, which some mirrors lack, the tarball is as good: apt has compared its
        # checksum with the signed index. What counts is that it is there.
        apt(scratch, "source", "--download-only", name, cwd=scratch.sources, check=False)
        unpack_source(scratch, name)
    say("fetching the Go compiler and libraries")
    libraries = [f"golang-github-{name}-dev" for name in LIBRARIES]
    wanted = ["golang-go", *libraries, *MORE_LIBRARIES]
    apt(scratch, "--no-install-recommends", "--download-only", "install", *wanted)
    for package in glob.glob(f"{scratch.apt}/archives/golang-*.deb"):
        subprocess.run(["dpkg", "-x", package, scratch.go], check=True)
    os.makedirs(f"{scratch.apt}/rootfs", exist_ok=True)
    apt(scratch, "download", *ROOTFS, cwd=f"{scratch.apt}/rootfs")


SOURCE_KINDS = ("deb", "deb-src")


def unpack_source(scratch: Scratch, name: str) -> None:
    found = sorted(glob.glob(f"{scratch.sources}/{name}_*.orig.tar.*"))
    if not found:
        refuse(f"the mirror has no source of {name} in {scratch.suite}")
    target = os.path.join(scratch.sources, name)
    os.makedirs(target, exist_ok=True)
    subprocess.run(["tar", "-xf", found[-1], "-C", target, "--strip-components=1"], check=True)
    say(f"source: {os.path.basename(found[-1])}")


# ---- building ------------------------------------------------------------------------------------


def link(target: str, path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(path):
        os.unlink(path)
    elif os.path.isdir(path):
        shutil.rmtree(path)
    os.symlink(target, path)


def go_build(scratch: Scratch, directory: str, *words: str) -> None:
    done = subprocess.run(
        ["go", "build", *words],
        cwd=os.path.join(scratch.gopath, "src/github.com/opencontainers", directory),
        env=scratch.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        refuse(f"go build {' '.join(words)} fails:\n{done.stderr[-2000:]}")


def build(scratch: Scratch) -> None:
    github = os.path.join(scratch.gopath, "src/github.com")
    link(scratch.runc, f"{github}/opencontainers/runc")
    link(scratch.tools, f"{github}/opencontainers/runtime-tools")
    link(os.path.join(HERE, "tap"), f"{github}/mndrix/tap-go")
    for name in HELPERS:
        say(f"building {name}")
        target = f"contrib/cmd/{name}/{name}"
        go_build(scratch, "runc", "-tags", "seccomp", "-o", target, f"./contrib/cmd/{name}")
    say("building runtimetest and the validation programs")
    static = ("-tags", "netgo osusergo", "-ldflags", "-extldflags -static")
    go_build(scratch, "runtime-tools", *static, "-o", "runtimetest", "./cmd/runtimetest")
    os.makedirs(scratch.programs, exist_ok=True)
    go_build(scratch, "runtime-tools", "-o", f"{scratch.programs}/", "./validation/...")


# ---- images: the suite would download them -------------------------------------------------------


def images(scratch: Scratch) -> None:
    arch = ARCHITECTURES[platform.machine()]
    data = f"{scratch.runc}/tests/integration/testdata"
    busybox = os.path.join(scratch.top, scratch.suite, "busybox")
    shutil.rmtree(busybox, ignore_errors=True)
    directories = "bin dev etc home root tmp usr/bin usr/sbin var/spool/mail lib lib64 sbin"
    for path in directories.split():
        os.makedirs(f"{busybox}/{path}")
    os.chmod(f"{busybox}/tmp", 0o1777)
    shutil.copy("/bin/busybox", f"{busybox}/bin/busybox")
    names = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True)
    for name in set(names.stdout.split()) - {"busybox"}:
        os.link(f"{busybox}/bin/busybox", f"{busybox}/bin/{name}")
    for name, lines in (("passwd", USERS), ("group", GROUPS)):
        with open(f"{busybox}/etc/{name}", "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    pack(busybox, f"{data}/busybox-{arch}.tar.xz")
    debian = os.path.join(scratch.top, scratch.suite, "debian")
    shutil.rmtree(debian, ignore_errors=True)
    for path in ("bin", "lib", "lib64", "sbin"):
        os.makedirs(f"{debian}/usr/{path}")
        os.symlink(f"usr/{path}", f"{debian}/{path}")
    for package in sorted(glob.glob(f"{scratch.apt}/rootfs/*.deb")):
        unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=-1, check=True)
        extract = ["tar", "-x", "--keep-directory-symlink", "-C", debian]
        subprocess.run(extract, input=unpacked.stdout, check=True)
    if not os.path.lexists(f"{debian}/usr/bin/sh"):
        os.symlink("dash", f"{debian}/usr/bin/sh")
    pack(debian, f"{data}/debian-{arch}.tar.xz")


def pack(directory: str, path: str) -> None:
    subprocess.run(["tar", "-C", directory, "-cJf", path, "."], check=True)


def prepare(path: str, suite: str) -> Scratch:
    """Return the scratch directory with everything built; what is there already is used."""
    scratch = Scratch(path, suite)
    missing = [name for name in ("apt-get", "bats", "jq", "gawk", "gcc") if not shutil.which(name)]
    if missing:
        refuse(f"not installed: {' '.join(missing)} (hint: apt-get install {' '.join(missing)})")
    os.makedirs(scratch.top, mode=0o755, exist_ok=True)
    if os.stat(scratch.top).st_uid != os.geteuid():
        refuse(f"{scratch.top} belongs to somebody else (hint: --scratch)")
    if os.path.exists(scratch.ready):
        say(f"built before: {scratch.top}/{suite}")
        return scratch
    fetch(scratch)
    build(scratch)
    images(scratch)
    with open(scratch.ready, "w", encoding="utf-8"):
        pass
    return scratch
