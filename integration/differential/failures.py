"""Bundles that cannot be created or started, and what each runtime does about it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from integration.differential.cases import READ_ALL, process_of, volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.differential.trial import Subject


def no_program(subject: Subject) -> None:
    subject.args("/nowhere")


def no_program_in_path(subject: Subject) -> None:
    subject.args("nowhere")


def not_executable(subject: Subject) -> None:
    subject.args("/etc/passwd")


def a_directory(subject: Subject) -> None:
    subject.args("/etc")


def not_a_program(subject: Subject) -> None:
    subject.file("text", "no program\n", 0o755)
    subject.args("/text")


def no_source(subject: Subject) -> None:
    subject.mount("/data", "bind", f"{subject.path}/nowhere", "bind")


def file_on_directory(subject: Subject) -> None:
    subject.mount("/etc", "bind", f"{volume(subject)}/file", "bind")


def directory_on_file(subject: Subject) -> None:
    subject.mount("/etc/passwd", "bind", volume(subject), "bind")


def bad_sysctl(subject: Subject) -> None:
    subject.config["linux"]["sysctl"] = {"kernel.core_pattern": "x"}


def cwd_is_a_file(subject: Subject) -> None:
    process_of(subject)["cwd"] = "/etc/passwd"


def forbidden_cwd(subject: Subject) -> None:
    """A directory that the user may not enter."""
    os.mkdir(f"{subject.rootfs}/closed", 0o700)
    process_of(subject).update(cwd="/closed", user={"uid": 1000, "gid": 1000})


def forbidden_exec(subject: Subject) -> None:
    subject.exec_words = [
        ["--", "/nowhere"],
        ["--", "nowhere"],
        ["--", "/etc"],
        ["--cwd", "/nowhere", "--", "/probe"],
        ["--user", "nobody-here", "--", "/probe"],
    ]


def no_rootfs(subject: Subject) -> None:
    subject.config["root"]["path"] = "nowhere"


def no_version(subject: Subject) -> None:
    del subject.config["ociVersion"]


def unknown_namespace(subject: Subject) -> None:
    subject.config["linux"]["namespaces"].append({"type": "moon"})


def namespace_twice(subject: Subject) -> None:
    subject.config["linux"]["namespaces"].append({"type": "ipc"})


def failing_hook(subject: Subject) -> None:
    subject.hook("createRuntime", "/bin/sh", "-c", f"{READ_ALL}; false")


FAILURES: dict[str, Callable[[Subject], None]] = {
    name: value
    for name, value in list(globals().items())
    if getattr(value, "__module__", "") == __name__
}
