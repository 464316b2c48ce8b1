"""criu for the tests: the one of Debian's forky, since that of Debian 12 fails on new kernels.

Where this machine has a newer one, as the guest with systemd has, it is that. Else it is unpacked
beside the checkout's other builds, and runs on this machine's own kernel by its own dynamic loader.
Nothing here knows which runtime is tested.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import tempfile

from integration.runtime import PATH

HERE = os.path.dirname(os.path.abspath(__file__))
BUILT = f"{os.path.dirname(HERE)}/build/criu-forky"
_SUITE, _MIRROR = "forky", "http://deb.debian.org/debian"
_BUILD_S = 300


def installed() -> str:
    """Return the directory of this machine's own criu, where the runtime can use it, or ""."""
    path = shutil.which("criu", path=PATH)
    if path is None:
        return ""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()  # Version: 4.2.1
    return os.path.dirname(path) if len(words) > 1 and words[1][:1] in "456789" else ""


def lacks_kernel() -> str:
    """Return why no criu works on this kernel, or "". proc(5): CONFIG_CHECKPOINT_RESTORE."""
    if os.path.exists("/proc/sys/kernel/ns_last_pid"):
        return ""
    return "this kernel is built without CHECKPOINT_RESTORE"


def build() -> str:
    """Return a directory with a program `criu` to put first into a PATH; made once."""
    if not os.access(f"{BUILT}/bin/criu", os.X_OK):
        os.makedirs(os.path.dirname(BUILT), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=os.path.dirname(BUILT)) as scratch:
            made = f"{scratch}/made"
            os.mkdir(made)
            _unpack(f"{made}/root")
            _write_launcher(made)
            shutil.rmtree(BUILT, ignore_errors=True)
            os.rename(made, BUILT)
    return f"{BUILT}/bin"


def _unpack(root: str) -> None:
    argv = [
        "mmdebstrap",
        "--quiet",
        "--variant=extract",
        '--aptopt=Acquire::Check-Valid-Until "false"',
        "--include=criu",
        _SUITE,
        root,
        _MIRROR,
    ]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=_BUILD_S,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr[-2000:]}"


def _write_launcher(made: str) -> None:
    loader = os.path.basename(glob.glob(f"{made}/root/usr/lib*/ld-linux-*.so.*")[0])
    directory = os.path.basename(os.path.dirname(glob.glob(f"{made}/root/usr/lib*/{loader}")[0]))
    libraries = os.path.dirname(glob.glob(f"{made}/root/usr/lib/*/libc.so.6")[0])
    root = f"{BUILT}/root"
    libraries = root + libraries.removeprefix(f"{made}/root")
    os.mkdir(f"{made}/bin")
    with open(f"{made}/bin/criu", "w") as text:
        text.write(
            "#!/bin/sh\n"
            f"exec {root}/usr/{directory}/{loader} --library-path {libraries}"
            f' {root}/usr/sbin/criu "$@"\n'
        )
    os.chmod(f"{made}/bin/criu", 0o755)


def lacks(bin_directory: str, feature: str) -> str:
    """Return why criu cannot do something on this kernel, or "". See `criu check --feature`."""
    done = subprocess.run(
        [f"{bin_directory}/criu", "check", "--feature", feature],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (done.stdout + done.stderr).strip() if done.returncode else ""
