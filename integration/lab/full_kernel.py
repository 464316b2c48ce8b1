"""The other kernel of the guests, with every controller that its architecture can have.

User-Mode Linux again, built from Debian's source package with guest/kernel.config. It takes 15
minutes of processor time, once, and is slower than Debian's build for programs of many threads.
"""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess

from integration import debian
from integration.lab import cache, kernel, root
from integration.runtime import PATH

CONFIG = f"{os.path.dirname(os.path.abspath(__file__))}/guest/kernel.config"
BUILD_S = 3600
TOOLS = ("gcc", "make", "flex", "bison", "bc", "xz", "strip")
# What no build for this architecture reads is a third of the sources.
LEFT_OUT = ("*/tools/testing", "*/drivers/gpu/drm/amd/include", "*/Documentation/*/*")
# An option that did not take is a guest that silently lacks it.
NEEDED = "SMP CPUSETS PSI MEMCG SWAP CFS_BANDWIDTH CGROUP_BPF BFQ_GROUP_IOSCHED NF_TABLES_INET"
NEEDED += " CHECKPOINT_RESTORE OVERLAY_FS USER_NS SECCOMP_FILTER HOSTFS"
NEEDED += " PACKET_DIAG NETLINK_DIAG INET_UDP_DIAG INET_RAW_DIAG"  # criu asks all of them


def lacks() -> str:
    """Return why this kernel cannot be built here, or ""."""
    missing = [name for name in TOOLS if shutil.which(name, path=PATH) is None]
    hint = "sh setup/packages.sh kernel"
    return f"not installed: {' '.join(missing)} (hint: {hint})" if missing else ""


def name() -> str:
    return f"kernel-full-{cache.key(kernel.SUITE, root.text_of(CONFIG))}"


def build(directory: str) -> None:
    """Fetch the sources, compile them and leave `linux` in the directory."""
    reason = lacks()
    if reason:
        raise SystemExit(f"lab: {reason}")
    scratch = f"{directory}/scratch"
    apt = debian.Apt(f"{scratch}/apt", kernel.SUITE)
    apt("update")
    package = apt.newest("linux-source-")
    cache.say(f"fetching {package} (about 150 MB)")
    apt.unpack(package, f"{scratch}/package")
    (archive,) = glob.glob(f"{scratch}/package/usr/src/linux-source-*.tar.xz")
    source = f"{scratch}/linux"
    os.mkdir(source)
    words = ["tar", "-xf", archive, "-C", source, "--strip-components=1"]
    subprocess.run([*words, *(f"--exclude={path}" for path in LEFT_OUT)], check=True)
    shutil.rmtree(f"{scratch}/package")
    configure(source)
    cache.say("compiling the kernel (15 minutes of processor time)")
    make(source, f"-j{len(os.sched_getaffinity(0))}", "linux")
    subprocess.run(["strip", "-o", f"{directory}/linux", f"{source}/linux"], check=True)
    shutil.copy(f"{source}/.config", f"{directory}/config")
    shutil.rmtree(scratch)


def configure(source: str) -> None:
    with open(f"{source}/.config", "w", encoding="utf-8") as file:
        file.write(root.text_of(f"{source}/arch/um/configs/x86_64_defconfig"))
        file.write(root.text_of(CONFIG))
    make(source, "olddefconfig")
    taken = root.text_of(f"{source}/.config").splitlines()
    missing = [option for option in NEEDED.split() if f"CONFIG_{option}=y" not in taken]
    if missing:
        raise SystemExit(f"lab: this kernel cannot have {' '.join(missing)}")


def make(source: str, *targets: str) -> None:
    """Run make at the lowest priority, with all its children ended after too long a time."""
    log = f"{os.path.dirname(source)}/log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            ["nice", "-n", "19", "make", "-s", "ARCH=um", *targets],
            cwd=source,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"PATH": PATH, "LANG": "C"},
            start_new_session=True,
        )
        try:
            status = process.wait(BUILD_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if status:
        raise SystemExit(f"lab: make {targets[-1]} fails:\n{root.text_of(log)[-2000:]}")
