"""The machines that a command may run on: the guests by their names, and this host as it is."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any

from integration import host
from integration.lab import cache, full_kernel, kernel, own, root
from integration.lab.guest import Guest
from integration.runtime import PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GUESTS = ("host", "systemd", "old", "own")
WITH_SYSTEMD = ("systemd", "own")  # the Debian with the newest engines
KERNELS = ("debian", "full")


def environment(words: list[str]) -> dict[str, str]:
    """Return the environment of a command in a guest; NAME alone takes the caller's value."""
    term = os.environ.get("TERM", "dumb")
    values = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": term}
    for word in words:
        name, equals, value = word.partition("=")
        values[name] = value if equals else os.environ.get(name, "")
    return values


def lacks(name: str) -> str:
    """Return why this guest cannot be started here, or ""."""
    reason = own.lacks() if name == "own" else kernel.lacks()
    return reason or (root.lacks() if name in WITH_SYSTEMD else "")


@contextlib.contextmanager
def guest(name: str, kernel_name: str = "debian", **fields: Any) -> Iterator[Guest]:
    """Yield a guest by its name and its kernel's, with everything built that it needs."""
    reason = lacks(name)
    if reason:
        raise SystemExit(f"lab: {reason}")
    cache.prune()
    with contextlib.ExitStack() as stack:
        if name == "old":
            suite = kernel.OLD_SUITE
            recipe = kernel.name(suite), functools.partial(kernel.build, suite=suite)
        elif kernel_name == "full":
            recipe = full_kernel.name(), full_kernel.build
        else:
            recipe = kernel.name(), kernel.build
        made = "" if name == "own" else stack.enter_context(cache.used(*recipe))
        systemd = name in WITH_SYSTEMD
        top = stack.enter_context(cache.used(root.name(), root.build)) if systemd else "/"
        yield Guest(kernel=made, root=top, systemd=systemd, checkout=CHECKOUT, **fields)


def is_native() -> bool:
    """Tell whether this host is what the guests are: unified cgroup v2, systemd as process 1."""
    return host.unified() and host.text_of("/proc/1/comm").strip() == "systemd"
