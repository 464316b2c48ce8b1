"""Bundles outside of the store, for any OCI runtime: made whole, pinned, removed.

STORE/pins/HEX holds the path of a bundle, HEX is its sha256. A pin whose bundle has no facts is
void: gc removes it.
"""

from __future__ import annotations

import errno
import hashlib
import os

from aisbx_runtime.sandbox.bundle import FACTS, config_of, facts_of, fill
from aisbx_runtime.sandbox.containers import read, statuses
from aisbx_runtime.sandbox.errors import HostError, InputError, NotFoundError
from aisbx_runtime.sandbox.store import remove_tree, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.bundle import Base
    from aisbx_runtime.sandbox.options import Request
    from aisbx_runtime.sandbox.runtime import Runtime
    from aisbx_runtime.sandbox.store import Store
    from aisbx_runtime.sandbox.userns import Users


def create(store: Store, base: Base, request: Request, directory: str, users: Users | None) -> str:
    """Make a bundle in a directory that is not there, or empty; return its path.

    It is made beside its place and moved there: after a kill there is a directory
    `.DIR.aisbx-XXXX` that is nobody's. Raises InputError where the place is taken.
    """
    path = os.path.realpath(directory)  # noqa: TID251  (the caller's own path)
    parent, name = os.path.split(path)
    config = config_of(base, request, path, name, users, lasting=True)
    facts = facts_of(base, name, users, path=path, keep=True)
    made = f"{parent}/.{name}.aisbx-{os.urandom(4).hex()}"
    try:
        os.mkdir(made, 0o700)
    except OSError as error:
        raise HostError(
            "cannot make a bundle there",
            where=parent,
            why=f"mkdir: {errno.errorcode.get(error.errno or 0, '')}",
        ) from error
    try:
        with store.shared():
            _pin(store, path)
            os.close(fill(made, base, config, facts, users))
            os.rename(made, path)
    except BaseException as error:
        remove_tree(made)
        if not os.path.exists(f"{path}/{FACTS}"):
            # Else there is a bundle already, whose pin it is.
            _unpin(store, path)
        if isinstance(error, FileNotFoundError):
            raise NotFoundError(
                "the image is being removed", where=base.reference, hint="pull it again"
            ) from error
        if isinstance(error, OSError) and error.errno in {
            errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR,
        }:  # fmt: skip
            raise InputError(
                "there is something already",
                where=path,
                hint="name an empty directory, or a new one",
            ) from error
        raise
    return path


def remove(store: Store, runtime: Runtime, directory: str) -> None:
    """Remove a bundle that `create` made, and its pin; again after a kill as well.

    Raises NotFoundError for another directory, InputError while a container uses it.
    """
    path = os.path.realpath(directory)  # noqa: TID251  (the caller's own path)
    try:
        names = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        names = []
        found = None
    else:
        found = read(path)
    if found is None and (names or not os.path.isdir(path)):
        raise NotFoundError("there is no bundle of aisbx", where=path)
    if path in statuses(runtime):
        raise InputError(
            "a container uses the bundle", where=path, hint="delete it first, with its runtime"
        )
    # The facts last: without them nobody would know that the rest is ours to remove.
    for name in sorted(names, key=lambda name: name == FACTS):
        place = f"{path}/{name}"
        if os.path.isdir(place) and not os.path.islink(place):
            remove_tree(place)
        else:
            os.unlink(place)
    os.rmdir(path)
    _unpin(store, path)


def pinned(store: Store) -> list[str]:
    """Return the paths of the bundles that are pinned, there or not."""
    found: list[str] = []
    for name in sorted(os.listdir(store.place("pins"))):
        # Another length: half-written, when `write_whole` was killed.
        if len(name) == len(hashlib.sha256().hexdigest()):
            with open(store.place("pins", name), "rb") as file:
                found.append(os.fsdecode(file.read()))
    return found


def _pin(store: Store, path: str) -> None:
    """Say that a bundle uses the store. Held by `store.shared`, before the bundle is there."""
    write_whole(_pin_of(store, path), os.fsencode(path))


def _unpin(store: Store, path: str) -> None:
    try:
        os.unlink(_pin_of(store, path))
    except FileNotFoundError:
        # gc was faster: the facts were gone.
        return


def _pin_of(store: Store, path: str) -> str:
    return store.place("pins", hashlib.sha256(os.fsencode(path)).hexdigest())
