"""The sandboxes of a store: found, listed, entered, ended. Starting one is `run`.

What a sandbox is, its facts say; whether it runs, only the runtime knows.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from dataclasses import dataclass

from aisbx_runtime.sandbox.bundle import FACTS, VERSION
from aisbx_runtime.sandbox.errors import HostError, InputError, NotFoundError
from aisbx_runtime.sandbox.store import put_in_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.runtime import Runtime
    from aisbx_runtime.sandbox.store import Store

RUNNING = ("creating", "created", "running", "paused")
STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What is stored of a sandbox, or of a bundle elsewhere.

    path: of its bundle. key: of the rootfs in the store. upper: the directory with what it
    changed, empty where it has a copy of the image. uid_map, gid_map: (inside, outside, count),
    empty without a user namespace. keep: it outlives the program that it runs.
    """

    name: str
    path: str
    reference: str
    digest: str
    key: str
    upper: str
    uid_map: tuple[tuple[int, int, int], ...]
    gid_map: tuple[tuple[int, int, int], ...]
    snapshot: str
    created: str
    keep: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What the runtime says: stopped where it knows of none. pid: 0 where nothing runs."""

    status: str
    pid: int


def named(store: Store, argument: str) -> Sandbox:
    """Return a sandbox by its name, or a bundle by its path, which has a slash.

    Raises NotFoundError, InputError where the facts are not what this program writes.
    """
    if "/" in argument:
        path = os.path.realpath(argument)  # noqa: TID251  (the caller's own path)
    else:
        path = store.place("containers", argument)
        if argument in {"", ".", ".."} or not os.path.isdir(path):
            raise NotFoundError(
                f"there is no sandbox {argument!r}", where=store.path, hint="see `aisbx ls`"
            )
    found = read(path)
    if found is None:
        raise NotFoundError(
            "there is no bundle of aisbx", where=path, hint="make one by `aisbx bundle create`"
        )
    return found


def read(path: str) -> Sandbox | None:
    """Return what the facts of a bundle say, or None where there are none."""
    try:
        with open(f"{path}/{FACTS}", encoding="utf-8") as file:
            facts = json.load(file)
        if facts["version"] != VERSION:
            raise InputError(
                f"the bundle has version {facts['version']!r}, known is {VERSION}",
                where=f"{path}/{FACTS}",
                hint="use the aisbx that made it",
            )
        mapping = facts["mapping"] or {"uid": (), "gid": ()}
        return Sandbox(
            name=facts["id"],
            path=path,
            reference=facts["image"]["reference"],
            digest=facts["image"]["digest"],
            key=facts["rootfs"],
            upper=facts["upper"] or "",
            uid_map=tuple((inside, outside, count) for inside, outside, count in mapping["uid"]),
            gid_map=tuple((inside, outside, count) for inside, outside, count in mapping["gid"]),
            snapshot=facts["snapshot"] or "",
            created=facts["created"],
            keep=facts["keep"],
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "the facts of a bundle are spoilt",
            where=f"{path}/{FACTS}",
            why=f"{type(error).__name__}: {error}",
            hint="remove it by `aisbx destroy`, or `aisbx bundle rm`",
        ) from error


def every(store: Store) -> list[Sandbox]:
    """Return the sandboxes of the store by name; what is half gone is none."""
    found: list[Sandbox] = []
    for name in sorted(os.listdir(store.place("containers"))):
        with contextlib.suppress(InputError):
            sandbox = read(store.place("containers", name))
            if sandbox is not None:
                found.append(sandbox)
    return found


def statuses(runtime: Runtime) -> dict[str, Status]:
    """Return what the runtime runs, by the path of the bundle: other stores use its ids as well."""
    found: dict[str, Status] = {}
    for one in json.loads(runtime.call("list", "--format", "json")) or ():
        found[one["bundle"]] = Status(one["status"], one["pid"])
    return found


def status_of(runtime: Runtime, sandbox: Sandbox) -> Status:
    """Return what the runtime says of one sandbox."""
    return statuses(runtime).get(sandbox.path, Status(STOPPED, 0))


def require_running(runtime: Runtime, sandbox: Sandbox) -> Status:
    """Return the status of a sandbox that runs. Raises InputError for another one."""
    found = status_of(runtime, sandbox)
    if found.status not in RUNNING:
        raise InputError(f"the sandbox {sandbox.name} is not running", where=sandbox.path)
    return found


def destroy(store: Store, runtime: Runtime, name: str) -> None:
    """End a sandbox and remove it with all that it changed. Raises NotFoundError.

    After a kill at any moment the same call succeeds.
    """
    path = store.place("containers", name)
    if "/" in name or name in {"", ".", ".."} or not os.path.isdir(path):
        raise NotFoundError(
            f"there is no sandbox {name!r}", where=store.path, hint="see `aisbx ls`"
        )
    runtime.delete(name, path)
    with store.workplace("destroy") as place:
        try:
            put_in_place(path, f"{place}/bundle")
        except FileNotFoundError:
            # Whoever ran it in front was faster.
            return
        except OSError as error:
            raise HostError(
                f"cannot remove the sandbox {name}",
                where=path,
                why=f"rename: {errno.errorcode.get(error.errno or 0, '')}",
            ) from error


def sweep(store: Store, runtime: Runtime) -> list[str]:
    """Remove the sandboxes that were to go with their program, and nobody waits for; return them.

    They are there when `aisbx run` was killed.
    """
    left = [one for one in every(store) if not one.keep and not _is_held(one.path)]
    if not left:
        return []
    running = statuses(runtime)
    stopped = [one.name for one in left if one.path not in running]
    for name in stopped:
        destroy(store, runtime, name)
    return stopped


def _is_held(path: str) -> bool:
    try:
        fd = os.open(f"{path}/{FACTS}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
