"""Debian's docker-registry on loopback, with or without TLS and basic authentication."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, PASSWORD = "somebody", "secret"
# bcrypt of the password, the one kind that the registry reads.
HASHED = "$2b$04$mPfBJwag5SVwF8S0.JKbM.duNjajkosv3DqkQw2NO.6Lws40t/9Jy"


class Registry:
    """One that runs. host: its name in references. certificates: a directory for --cert-dir."""

    def __init__(self, host: str, certificates: str) -> None:
        self.host = host
        self.certificates = certificates

    def push(self, reference: str, name: str) -> str:
        """Put an image into it by skopeo; return its name here."""
        target = f"docker://{self.host}/{name}"
        options = [f"--dest-cert-dir={self.certificates}"] if self.certificates else []
        options += ["--dest-tls-verify=false"] if not self.certificates else []
        options += [f"--dest-creds={USER}:{PASSWORD}"]
        words = ["skopeo", "copy", "--all", *options, reference, target]
        subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        return target


@contextlib.contextmanager
def running(directory: str, *, tls: bool = False, login: bool = False) -> Iterator[Registry]:
    """Start a registry whose files are in a directory, which is made."""
    os.mkdir(directory)
    certificates = f"{directory}/certificates" if tls else ""
    text = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {directory}/data}}}}\n"
    text += "http:\n  addr: 127.0.0.1:0\n"
    if tls:
        _make_certificate(directory, certificates)
        text += f"  tls: {{certificate: {certificates}/ca.crt, key: {directory}/key}}\n"
    if login:
        with open(f"{directory}/htpasswd", "w") as out:
            out.write(f"{USER}:{HASHED}\n")
        text += f"auth: {{htpasswd: {{realm: test, path: {directory}/htpasswd}}}}\n"
    with open(f"{directory}/config.yml", "w") as out:
        out.write(text)
    process = subprocess.Popen(
        ["docker-registry", "serve", f"{directory}/config.yml"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = _address(process)
        # It logs every request; a full pipe would stop it.
        drain = threading.Thread(target=process.stderr.read)
        drain.start()
        yield Registry(address, certificates)
    finally:
        process.kill()
        process.wait()
    drain.join()
    process.stderr.close()


def _address(process: subprocess.Popen[str]) -> str:
    """Read what it says until it says where it listens."""
    said = ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        _, found, rest = line.partition("listening on ")
        if found:
            return rest.split('"')[0].split(",")[0].strip()
    raise AssertionError(f"docker-registry does not start: {said}")


def _make_certificate(directory: str, certificates: str) -> None:
    os.mkdir(certificates)
    words = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *(
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=loopback",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ),
        *("-keyout", f"{directory}/key", "-out", f"{certificates}/ca.crt"),
    ]
    subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)
