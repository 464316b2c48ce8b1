"""checkpoint: the processes of a container as files, by criu; and then its end, unless it stays.

What criu is and how it is asked lives in `oci.criu`.
"""

from __future__ import annotations

import fcntl

from aisbx_runtime.oci import cgroup, jsontext
from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.container import PAUSED, RUNNING
from aisbx_runtime.oci.criu import log, messages, outside, program
from aisbx_runtime.oci.criu.session import Session
from aisbx_runtime.oci.errors import Failure, HostError, StateError, UsageError, why_of
from aisbx_runtime.oci.flags import BOOL, NUMBER, TEXT, Flag
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.lifecycle import attempt, criu_request
from aisbx_runtime.oci.lifecycle import bundle as bundles
from aisbx_runtime.oci.lifecycle.delete import destroy
from aisbx_runtime.oci.plan import rootfs
from aisbx_runtime.oci.plan.mounts import maps_ids
from aisbx_runtime.oci.plan.step import World
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec.mount_options import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.container import Container, Facts
    from aisbx_runtime.oci.criu.messages import Answer, Options
    from aisbx_runtime.oci.flags import Values
    from aisbx_runtime.oci.lifecycle.criu_request import Places
    from aisbx_runtime.oci.spec.model import Spec

FLAGS = (
    *criu_request.FLAGS,
    Flag(("leave-running",), BOOL, "let the container go on"),
    Flag(("pre-dump",), BOOL, "take the memory only, and let the container go on"),
    Flag(("parent-path",), TEXT, "image of a pre-dump, relative to the image's directory"),
    Flag(("tcp-skip-in-flight",), BOOL, "leave out connections that are being opened"),
    Flag(("link-remap",), BOOL, "give files that were removed a name, to find them again"),
    Flag(("page-server",), TEXT, "ADDRESS:PORT of a criu page-server that takes the memory"),
    Flag(("status-fd",), NUMBER, "fd to write a zero byte to once lazy pages can be fetched"),
)
_LOG = "dump.log"
_MAX_PORT = 65535

# `checkpoint --help` fails where criu does not work: engines look for that (contract.md 22).
require = program.require


def main(call: Call) -> int:
    """Checkpoint a container; delete it unless it is to go on."""
    values = call.values
    found = program.require()
    leaked = attempt.settle(max(values.number("status-fd") - 2, 0))
    container = containers.load(call.root(), values.words[0])
    container.lock()
    facts = container.facts()
    status = containers.status_of(container, facts)
    if status not in {RUNNING, PAUSED}:
        raise StateError(
            f"cannot checkpoint container {container.id} that is {status}",
            hint="only a running or paused container can be checkpointed",
        )
    spec = bundles.parsed(container.read(containers.CONFIG))
    _check(spec)
    with_criu = _Call(
        criu=found.path,
        places=criu_request.open_places(values, _LOG, make_image=True),
        status_fd=_status_fd(values),
    )
    request = _request(values, spec, facts, with_criu.places)
    _check_features(with_criu, values)
    attempt.drop(leaked)
    _dump(with_criu, container, facts, request)
    if not values.flag("leave-running") and not values.flag("pre-dump"):
        destroy(container, facts)
    return 0


@record
class _Call:
    criu: str
    places: Places
    status_fd: int


def _check(spec: Spec) -> None:
    """Refuse what criu would not bring back as it was, while the container is still there."""
    criu_request.check_namespaces(spec, "checkpoint")
    shared = spec.linux.rootfs_propagation
    if shared and rootfs.PROPAGATION[shared][0] == mount.MS_SHARED:
        raise _not_as_it_was("a shared rootfs", "linux.rootfsPropagation", "shares nothing")
    for index, one in enumerate(spec.mounts):
        options = resolve(one.options)
        where = f"mounts[{index}].options"
        if options.propagation == mount.MS_SHARED:
            raise _not_as_it_was("a shared mount", where, "shares nothing with the host")
        if maps_ids(one, options):
            raise _not_as_it_was("an id mapped mount", where, "maps no ids")


def _not_as_it_was(what: str, where: str, how: str) -> Failure:
    return HostError(
        f"cannot checkpoint a container with {what}",
        where=where,
        hint=f"criu would restore one that {how}: leave the option away",
    )


def _request(values: Values, spec: Spec, facts: Facts, places: Places) -> bytes:
    """Return what criu is asked to do. Raises UsageError, Failure."""
    pid = facts.number("pid")
    options = criu_request.common_options(values, spec, places)
    options.number("pid", pid)
    options.text("root", facts.text("rootfs"))
    for flag in ("leave-running", "tcp-skip-in-flight", "link-remap"):
        if values.flag(flag):
            options.number(flag.replace("-", "_"), 1)
    paths = tuple(facts.texts("cgroups"))
    criu_request.set_cgroup_mode(options, values, "soft" if _has_cgroups_below(paths) else "ignore")
    if paths and os.path.isdir(paths[0]):
        options.text("freeze_cgroup", paths[0])
    _set_parent(options, values, places)
    _set_page_server(options, values)
    for word in outside.namespaces(spec, pid):
        options.text("external", word)
    if values.flag("pre-dump"):
        options.number("track_mem", 1)
        return messages.request(messages.SINGLE_PRE_DUMP, options)
    for point, name in outside.named_mounts(spec, pid):
        options.pair("ext_mnt", point, name)
    descriptors = outside.descriptors(pid)
    for one in sorted(set(descriptors)):
        if outside.is_outside(one):
            options.text("external", one)
    _write_descriptors(places, descriptors)
    return messages.request(messages.DUMP, options)


def _has_cgroups_below(paths: tuple[str, ...]) -> bool:
    """Tell whether the container has made cgroups of its own, which only criu can make again."""
    # A directory of cgroupfs has 2 links and one per child.
    return any(os.path.isdir(path) and os.stat(path).st_nlink > 2 for path in paths)


def _set_parent(options: Options, values: Values, places: Places) -> None:
    parent = values.text("parent-path")
    if not parent:
        return
    if parent.startswith("/"):
        raise UsageError(
            f"--parent-path {parent}: must be relative to the image's directory",
            hint="images are moved together: write ../NAME",
        )
    if not os.path.isdir(f"{places.image}/{parent}"):
        raise UsageError(
            f"--parent-path {parent}: there is no directory {places.image}/{parent}",
            hint="make it with checkpoint --pre-dump --image-path",
        )
    options.text("parent_img", parent)
    options.number("track_mem", 1)


def _set_page_server(options: Options, values: Values) -> None:
    word = values.text("page-server")
    if not word:
        return
    address, _, port = word.rpartition(":")
    if not address or not port.isascii() or not port.isdigit() or not 0 < int(port) <= _MAX_PORT:
        raise UsageError(f"--page-server {word}: expected ADDRESS:PORT")
    options.pair("ps", address.strip("[]"), int(port))


def _write_descriptors(places: Places, descriptors: list[str]) -> None:
    path = f"{places.image}/{criu_request.DESCRIPTORS}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(criu_request.DESCRIPTORS, flags, 0o600, dir_fd=places.image_fd)
        try:
            os.write(fd, jsontext.dump(descriptors).encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise Failure(f"cannot write {path}", why=why_of(error)) from None


def _dump(call: _Call, container: Container, facts: Facts, request: bytes) -> None:
    """Let criu carry out the request. On any failure the container goes on as it was."""
    paths = tuple(facts.texts("cgroups"))
    was_frozen = cgroup.is_frozen(paths)
    done = False
    try:
        answer, status = _ask(call, container.id, request)
        done = answer is not None and answer.success and not status
    finally:
        # criu thaws what it has frozen, unless it was killed.
        if not done and not was_frozen and cgroup.is_frozen(paths):
            cgroup.thaw(paths)
    if not done:
        what = f"cannot checkpoint container {container.id}"
        raise log.failure(what, answer, call.places.log)


def _ask(call: _Call, container_id: str, request: bytes) -> tuple[Answer | None, int]:
    at = World(container_id, "")
    session = Session(call.criu, at, directories=call.places.directories())
    try:
        session.go()
        answer = session.ask(request, lambda said, _: _notified(said, call.status_fd))
    finally:
        status = session.close()
    return answer, status


def _status_fd(values: Values) -> int:
    if "status-fd" not in values.given:
        return -1
    fd = values.number("status-fd")
    try:
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise UsageError(f"--status-fd {fd}: it cannot be written to")
    except OSError as error:
        raise UsageError(f"--status-fd {fd}: no such descriptor", why=why_of(error)) from None
    return fd


def _notified(said: Answer, status_fd: int) -> None:
    if said.script == "status-ready" and status_fd >= 0:
        os.write(status_fd, b"\0")
        os.close(status_fd)


def _check_features(call: _Call, values: Values) -> None:
    """Refuse what this kernel cannot do, which criu would only find out when all is frozen."""
    if values.flag("pre-dump") or values.text("parent-path"):
        _check_feature(
            call,
            "mem_track",
            Failure(
                "this kernel does not track changes of memory",
                where="--pre-dump, --parent-path",
                hint="checkpoint without a pre-dump, or boot a kernel with CONFIG_MEM_SOFT_DIRTY",
            ),
        )
    if values.flag("lazy-pages"):
        _check_feature(
            call,
            "lazy_pages",
            Failure(
                "this kernel does not hand out pages when they are asked for",
                where="--lazy-pages",
                hint="checkpoint without it, or boot a kernel with CONFIG_USERFAULTFD",
            ),
        )


def _check_feature(call: _Call, name: str, failure: Failure) -> None:
    answer, _ = _ask(call, "", messages.feature_request(name))
    if answer is None or name not in answer.features:
        raise failure
