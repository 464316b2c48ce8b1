"""What a container sees of its surroundings, beside what this host sees: the table of `make run`.

The probe runs inside under the host's busybox-static, bound into the container's own /dev, so
that it works with any image, a shell or none in it.
"""

from __future__ import annotations

import subprocess

BUSYBOX = "/bin/busybox"
# /dev is the container's own tmpfs: the image's files stay as they are.
INSIDE = "/dev/busybox"
NAMESPACES = ("pid", "net", "mnt", "ipc", "uts", "cgroup", "user", "time")

# One `name=value` a line. Shell variables only: the image's environment may have any PATH.
PROBE = r"""
b() { "$0" "$@"; }
for n in pid net mnt ipc uts cgroup user time; do echo "ns $n=$(b readlink /proc/self/ns/$n)"; done
echo "hostname=$(b hostname)"
echo "user=$(b id -u):$(b id -g)"
while read -r key value; do
  case $key in CapBnd:|CapEff:|NoNewPrivs:|Seccomp:) echo "${key%:}=$value" ;; esac
done </proc/self/status
echo "network=$(b ls /sys/class/net | b tr '\n' ' ')"
echo "processes=$(b ls /proc | b grep -c '^[0-9]')"
echo "root directory=$(b stat -c '%D:%i' / 2>/dev/null || b stat -c '%d:%i' /)"
if ( : >/proc/sys/kernel/hostname ) 2>/dev/null; then s=writable; else s=read-only; fi
echo "kernel settings=$s"
for f in /proc/kcore /proc/timer_list /sys/firmware; do
  if [ -d $f ]; then [ -n "$(b ls $f 2>/dev/null)" ] && s=visible || s=hidden
  elif [ -e $f ]; then b head -c 1 $f 2>/dev/null | b grep -q . && s=visible || s=hidden
  else s="not there"; fi
  echo "$f=$s"
done
"""


def facts_of(output: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in output.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def seen_by_host() -> dict[str, str]:
    # b() starts $0, so that the same text serves both sides.
    # On the host it only asks whether it may write below /proc/sys.
    text = PROBE.replace(
        "( : >/proc/sys/kernel/hostname ) 2>/dev/null", "[ -w /proc/sys/kernel/hostname ]"
    )
    result = subprocess.run(
        [BUSYBOX, "sh", "-c", text, BUSYBOX], check=True, stdout=subprocess.PIPE, text=True
    )
    return facts_of(result.stdout)


def seen_inside(aisbx: list[str], image: str) -> dict[str, str]:
    """Run the probe in a sandbox on the image and return what it printed."""
    words = ["--volume", f"{BUSYBOX}:{INSIDE}:ro", "--workdir", "/", "--entrypoint", INSIDE, image]
    result = subprocess.run(
        [*aisbx, "run", *words, "--", "sh", "-c", PROBE, INSIDE],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    return facts_of(result.stdout)


def capabilities(mask: str) -> str:
    count = int(mask, 16).bit_count()
    return f"{count} capabilities"


def rows(host: dict[str, str], inside: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """Return (what, on this host, in the container, verdict) for each line of the table."""
    table = []
    for name in NAMESPACES:
        outer, inner = host[f"ns {name}"], inside[f"ns {name}"]
        verdict = "the host's" if outer == inner else "own"
        table.append((f"{name} namespace", number(outer), number(inner), verdict))
    for name in ("hostname", "user", "network", "processes", "root directory"):
        verdict = "same" if host[name] == inside[name] else "differs"
        table.append((name, host[name], inside[name], verdict))
    for name, what in (("CapBnd", "bounding set"), ("CapEff", "effective set")):
        outer, inner = capabilities(host[name]), capabilities(inside[name])
        table.append((what, outer, inner, "same" if outer == inner else "reduced"))
    for name, what in (("NoNewPrivs", "no new privileges"), ("Seccomp", "seccomp filter")):
        table.append((what, switch(host[name]), switch(inside[name]), ""))
    names = ("kernel settings", "/proc/kcore", "/proc/timer_list", "/sys/firmware")
    return [*table, *((name, host[name], inside[name], "") for name in names)]


def switch(value: str) -> str:
    return "off" if value == "0" else "on"


def number(namespace: str) -> str:
    """pid:[4026531836] -> 4026531836; empty (a kernel without it) -> none."""
    return namespace.partition("[")[2].rstrip("]") or "none"


def table_of(host: dict[str, str], inside: dict[str, str]) -> str:
    """Return the table as text."""
    lines = [("", "this host", "container", ""), *rows(host, inside)]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, [*widths, 0], strict=True)
        ).rstrip()
        for line in lines
    )
