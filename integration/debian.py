"""Debian's packages of any suite, from the mirror that this host uses. Nothing is installed.

Here is what this host's apt knows (mirror, key, proxies), and an apt with lists and archives of its
own. Errors are SystemExit with one sentence for a person.
"""

from __future__ import annotations

import glob
import os
import subprocess

MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
APT_S = 900
# What of this host's apt a private apt or mmdebstrap must know as well to reach the mirror.
REACHING = ("Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::Check-Date")


def release() -> dict[str, str]:
    """Return /etc/os-release."""
    with open("/etc/os-release", encoding="utf-8") as file:
        pairs = (line.strip().split("=", 1) for line in file if "=" in line)
        return {name: value.strip("\"'") for name, value in pairs}


def mirror() -> tuple[str, str]:
    """Return (URI, options) of the line with which this host gets its own release of Debian."""
    about = release()
    if about.get("ID") == "debian":
        found = mirror_of(about.get("VERSION_CODENAME", ""))
        if found is not None:
            return found
    return MIRROR, f"[signed-by={KEYRING}]" if os.path.exists(KEYRING) else ""


def mirror_of(codename: str) -> tuple[str, str] | None:
    for path in sorted(glob.glob("/etc/apt/sources.list.d/*.sources")):
        with open(path, encoding="utf-8") as file:
            found = in_stanzas(file.read(), codename)
        if found is not None:
            return found
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*.list"))]:
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found = in_lines(file.read(), codename)
            if found is not None:
                return found
    return None


def in_stanzas(text: str, codename: str) -> tuple[str, str] | None:
    """Return (URI, options) of a suite in the newer format: sources.list(5), DEB822-STYLE."""
    for stanza in text.split("\n\n"):
        lines = [one for one in stanza.splitlines() if ":" in one and one[0] not in "# "]
        fields = dict(one.split(":", 1) for one in lines)
        if codename in fields.get("Suites", "").split():
            key = fields.get("Signed-By", "").strip()
            return fields["URIs"].split()[0], f"[signed-by={key}]" if key else ""
    return None


def in_lines(text: str, codename: str) -> tuple[str, str] | None:
    """Return (URI, options) of a suite in the older format: sources.list(5), ONE-LINE-STYLE."""
    for line in text.splitlines():
        left, _, right = line.partition("]") if "[" in line else ("", "", line[3:])
        words = right.split()
        if line.startswith("deb ") and words[1:2] == [codename]:
            return words[0], f"{left[4:]}]" if left else ""
    return None


def settings() -> list[str]:
    """Return the lines of this host's apt.conf that say how a mirror is reached."""
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(REACHING)]
    # A frozen mirror of a suite that is not released is out of date by its own Release file.
    return [*(line.rstrip(";") for line in lines), 'Acquire::Check-Valid-Until "false"']


class Apt:
    """apt-get for one suite, with lists and archives below `top`."""

    def __init__(self, top: str, suite: str) -> None:
        self.top = top
        for path in ("lists/partial", "archives/partial"):
            os.makedirs(f"{top}/{path}", exist_ok=True)
        uri, options = mirror()
        with open(f"{top}/sources.list", "w", encoding="utf-8") as file:
            file.write(f"deb {options} {uri} {suite} main\n")
        with open(f"{top}/status", "w", encoding="utf-8"):
            pass

    def __call__(self, *words: str, cwd: str | None = None) -> None:
        self._run("apt-get", "-q", "-y", *words, cwd=cwd)

    def _run(self, program: str, *words: str, cwd: str | None = None) -> str:
        """Return what apt-get or apt-cache has written."""
        places = {
            "Dir::Etc::sourcelist": f"{self.top}/sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": f"{self.top}/lists",
            # Nothing is installed: apt then brings whatever the wanted packages depend on.
            "Dir::State::status": f"{self.top}/status",
            "Dir::Cache": self.top,
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Retries": "3",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
            "Debug::NoLocking": "1",
        }
        options = [word for name, value in places.items() for word in ("-o", f"{name}={value}")]
        done = subprocess.run(
            [program, *options, *words],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=APT_S,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{program} {' '.join(words[:4])} ... fails:\n{done.stdout[-2000:]}")
        return done.stdout

    def newest(self, prefix: str) -> str:
        """Return the package of the highest version in its name: linux-source-6.12."""
        names = self._run("apt-cache", "pkgnames", prefix).split()
        versions = {}
        for name in names:
            words = name.removeprefix(prefix).split(".")
            if all(word.isdigit() for word in words):
                versions[tuple(int(word) for word in words)] = name
        if not versions:
            raise SystemExit(f"no package {prefix}VERSION on this mirror")
        return versions[max(versions)]

    def unpack(self, package: str, directory: str) -> None:
        """Download one package and unpack it below the directory."""
        os.makedirs(directory, exist_ok=True)
        self("download", package, cwd=directory)
        (archive,) = glob.glob(f"{directory}/{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", archive, directory], check=True)
        os.unlink(archive)
