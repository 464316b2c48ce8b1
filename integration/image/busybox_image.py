"""A real OCI image made from what Debian ships: busybox-static, through umoci.

One layer: busybox with a link for each of its commands, and the few files that a shell looks for.
"""

from __future__ import annotations

import os
import shutil
import subprocess

BUSYBOX = "/bin/busybox"
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnobody:x:65534:\n",
    "etc/motd": "Hello from an OCI image made of Debian's busybox-static.\n",
}
DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var")


def fill_rootfs(rootfs: str) -> None:
    """Put busybox and its commands below rootfs, which umoci made empty."""
    for directory in DIRECTORIES:
        os.makedirs(os.path.join(rootfs, directory), exist_ok=True)
    os.chmod(os.path.join(rootfs, "tmp"), 0o1777)
    os.chmod(os.path.join(rootfs, "root"), 0o700)
    program = os.path.join(rootfs, "bin/busybox")
    shutil.copyfile(BUSYBOX, program)
    os.chmod(program, 0o755)
    listed = subprocess.run([BUSYBOX, "--list"], check=True, stdout=subprocess.PIPE, text=True)
    for command in listed.stdout.split():
        if command != "busybox":
            os.symlink("busybox", os.path.join(rootfs, "bin", command))
    for path, text in FILES.items():
        with open(os.path.join(rootfs, path), "w", encoding="utf-8") as file:
            file.write(text)


def make_image(layout: str, tag: str, scratch: str) -> None:
    """Make the OCI layout with one tagged image; scratch is a directory that does not exist yet."""
    image = f"{layout}:{tag}"
    umoci("init", "--layout", layout)
    umoci("new", "--image", image)
    umoci("unpack", "--image", image, scratch)
    fill_rootfs(os.path.join(scratch, "rootfs"))
    umoci("repack", "--refresh-bundle", "--image", image, scratch)
    umoci(
        "config",
        "--image",
        image,
        "--config.env=PATH=/bin",
        "--config.workingdir=/root",
        "--config.cmd=/bin/sh",
        "--config.cmd=-c",
        "--config.cmd=cat /etc/motd; echo; ps",
    )
    shutil.rmtree(scratch)


def umoci(*arguments: str) -> None:
    subprocess.run(["umoci", *arguments], check=True, stdin=subprocess.DEVNULL)
