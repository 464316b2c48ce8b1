"""mounts: add mounts to a container that lives, and remove them.

The sources are taken here, by the rights and in the mount namespace of the caller, and mapped here;
a child that has entered the container, as `exec` does, attaches them. What it does there is what
container init does at create.
"""

from __future__ import annotations

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.container import CREATED, PAUSED, RUNNING
from aisbx_runtime.oci.errors import (
    Failure,
    HostError,
    SpecError,
    StateError,
    UsageError,
    kernel_error,
)
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWPID, setns
from aisbx_runtime.oci.lifecycle import apart, attempt, exec  # noqa: A004  (the verb)
from aisbx_runtime.oci.lifecycle import bundle as bundles
from aisbx_runtime.oci.plan import mounts, namespaces, refuse, rootfs, sources
from aisbx_runtime.oci.plan.join import EnterContainer
from aisbx_runtime.oci.plan.remount import Remount
from aisbx_runtime.oci.plan.step import World
from aisbx_runtime.oci.plan.unmount import Unmount
from aisbx_runtime.oci.record import replace
from aisbx_runtime.oci.spec import parse, validate_linux
from aisbx_runtime.oci.spec.model import Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.container import Container, Facts
    from aisbx_runtime.oci.plan.step import Step
    from aisbx_runtime.oci.spec.model import Spec


def main(call: Call) -> int:
    """Carry out `add` or `remove`: all of it, or nothing."""
    verb, container_id, path = call.values.words
    if verb not in {"add", "remove"}:
        raise UsageError(f"mounts {verb}: no such verb", hint="write mounts add or mounts remove")
    if os.geteuid() != 0:
        # open_tree(2), and procfs for umount2(2), are out of reach for a user outside.
        raise HostError(
            "only root can change the mounts of a container that lives",
            hint="name the mounts in config.json, or call this in the user namespace of podman",
        )
    leaked = attempt.settle(0)
    container = containers.load(call.root(), container_id)
    container.lock()
    facts = container.facts()
    at = _world(container, facts)
    pid = facts.number("pid")
    flags, user_namespace = exec.namespaces_to_join(pid)
    if user_namespace:
        at.namespace_fds["user"] = _open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    spec = _spec(container, path, user_path=f"/proc/{pid}/ns/user" if user_namespace else "")
    attempt.drop(leaked)
    steps: list[Step] = [
        EnterContainer(flags, before_birth=False, origin=f"container {container_id}"),
        *([namespaces.BecomeContainerRoot("linux.namespaces")] if user_namespace else []),
    ]
    if verb == "add":
        _apply(sources.steps(spec, facts.text("bundle")), at)
        steps.extend(_mount_steps(spec))
    else:
        steps.extend([Unmount(one.destination, f"mounts[{index}].destination")
                      for index, one in enumerate(spec.mounts)])  # fmt: skip
    _apply([rootfs.OpenProc("runtime default")], at)
    if any(one.type == "proc" for one in spec.mounts):
        # A procfs shows the pids of whoever mounts it. Else nobody inside is to see the child.
        setns(at.pidfd, CLONE_NEWPID)
    apart.carry_out(
        steps,
        at,
        died=StateError("the container ended while its mounts were changed"),
        undo=lambda done, failure: _undo(done, at, failure),
    )
    return 0


def _world(container: Container, facts: Facts) -> World:
    """Return the world of a container that lives. Raises StateError for any other."""
    status = containers.status_of(container, facts)
    at = World(container.id, facts.text("bundle"))
    at.pidfd = containers.open_init(facts) if status in {RUNNING, CREATED, PAUSED} else -1
    if at.pidfd < 0:
        raise StateError(f"cannot change the mounts of a {status} container")
    at.root_fd = _open(f"/proc/{facts.number('pid')}/root", os.O_PATH | os.O_DIRECTORY)
    return at


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise kernel_error(error.errno or 0, "open", path) from None


def _spec(container: Container, path: str, *, user_path: str) -> Spec:
    """Return the container's spec with the mounts of the file, checked as create checks them."""
    entries, document = parse.mounts_of(parse.text_of(bundles.read_file(path, path), path), path)
    spec = bundles.parsed(container.read(containers.CONFIG))
    # The user namespace is there, so it is one by path: mappings of "idmap" are taken from it.
    spaces = [one for one in spec.linux.namespaces if one.type != "user"]
    if user_path:
        spaces.append(Namespace("user", user_path))
    linux = replace(spec.linux, namespaces=tuple(spaces))
    spec = replace(spec, mounts=entries, linux=linux)
    validate_linux.mount_mappings_can_be_made(spec, document)
    try:
        refuse.check(spec)
        rootfs.check_mount_namespace(spec)
    except Failure as failure:
        failure.where = path
        raise
    for index, one in enumerate(entries):
        if one.type == "cgroup" and not mounts.is_bind(one):
            raise SpecError(
                f"mounts[{index}].type: cgroup is mounted by create only",
                where=path,
                hint="bind a directory of the host's cgroup file system",
            )
        if os.path.normpath(one.destination) == "/":
            raise SpecError(
                f"mounts[{index}].destination: the root of a container that lives stays",
                where=path,
            )
    return spec


def _mount_steps(spec: Spec) -> list[Step]:
    steps: list[Step] = []
    for index, one in enumerate(spec.mounts):
        steps.extend(mounts.steps_of(index, one, propagation=rootfs.inherited(spec)))
        if mounts.is_read_only_dev(one):
            steps.append(mounts.MakeMountReadOnly(one.destination, f"mounts[{index}]"))
    return steps


def _apply(steps: list[Step], at: World) -> None:
    for step in steps:
        try:
            step.apply(at)
        except (OSError, Failure) as error:
            raise apart.failure_of(step, error) from None


def _undo(done: list[Step], at: World, failure: Failure) -> None:
    for step in reversed(done):
        if isinstance(step, (mounts.BindMount, mounts.FileSystemMount)):
            try:
                Unmount(step.target, step.origin).apply(at)
            except Failure:
                failure.why += f"; {step.target} stays mounted"
        elif isinstance(step, Remount):
            failure.why += f"; {step.target} stays changed"
