"""delete: what create has made outside the container, and its directory."""

from __future__ import annotations

import errno

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import report
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.container import CREATED, CREATING, STOPPED
from aisbx_runtime.oci.errors import NOT_STOPPED, Failure, StateError, UsageError, why_of
from aisbx_runtime.oci.kernel.signal import SIGKILL, end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.container import Container, Facts

_EXIT_MS = 10_000
_ROUND_MS = 250
# With another than the runtime's, a unit that failed may stay.
COLLECT_MODE = "org.systemd.property.CollectMode"
_PF_EXITING = 0x4  # include/linux/sched.h


def main(call: Call) -> int:
    """Delete a container; with --force kill it first, and take an unknown one for deleted."""
    if call.values.flag("regex"):
        _delete_found(call, call.values.words[0])
    else:
        _delete(call, call.values.words[0])
    return 0


def _delete_found(call: Call, word: str) -> None:
    """Delete all containers in whose id the regular expression is found, as crun does.

    One that cannot be deleted keeps no other: its failure is raised when all were tried.
    """
    import re

    try:
        pattern = re.compile(word)
    except re.error as error:
        raise UsageError(f"--regex {word}: no regular expression", why=str(error)) from None
    first: Failure | None = None
    for container in containers.every(call.root()):
        if pattern.search(container.id):
            try:
                _delete(call, container.id)
            except Failure as error:
                first = first or error
    if first is not None:
        raise first


def _delete(call: Call, container_id: str) -> None:
    force = call.values.flag("force")
    try:
        container = containers.load(call.root(), container_id)
        container.lock()
    except StateError:
        if force:
            return
        raise
    facts = container.facts()
    status = containers.status_of(container, facts)
    # runc deletes a created container too, and containerd relies on it.
    if status not in {STOPPED, CREATED} and not (force or status == CREATING):
        raise StateError(NOT_STOPPED.format(id=container.id, status=status))
    for sentence in destroy(container, facts):
        report.warning(call.options, sentence)


def destroy(container: Container, facts: Facts) -> list[str]:
    """Kill what is left of a locked container, remove everything, run poststop hooks.

    Returns what is worth a warning.
    """
    kill(container, facts)
    remove_mounts(container)
    remove_cgroups(container, facts)
    remove_resctrl_groups(container, failed=not facts.flag("complete"))
    _remove_files(container)
    # Read before the directory goes, run after everything is gone (runtime.md, lifecycle 12).
    poststop = facts.mapping("hooks").get("poststop")
    config = container.read(containers.CONFIG) if poststop else b""
    state = containers.state_of(container, facts, status=STOPPED) if poststop else {}
    container.remove()
    return run_poststop(config, state, facts) if poststop else []


def kill(container: Container, facts: Facts) -> None:
    """Kill what is left of a locked container, and wait for its init to end. Raises Failure."""
    pidfd = containers.open_init(facts)
    if pidfd >= 0 or not facts.flag("own_pid_namespace"):
        # Without a pid namespace of its own the dead init has taken nobody along.
        kill_cgroup(container, facts)
    if pidfd < 0:
        return
    for _ in range(_EXIT_MS // _ROUND_MS):
        if end(pidfd, _ROUND_MS) or _only_waits_for_zombies(facts):
            os.close(pidfd)
            return
    raise Failure(
        f"init of container {container.id} does not die",
        why=f"pid {facts.number('pid')} still runs after SIGKILL",
        hint="it waits in the kernel, for a disk or a network file system: see dmesg",
    )


def _only_waits_for_zombies(facts: Facts) -> bool:
    """Tell whether nothing of the container runs, and init only waits for others to be reaped.

    pid_namespaces(7): init of a pid namespace ends after all others in it were reaped. Those of
    `exec` are reaped by whoever called it, which may take its time, or wait for this delete.
    """
    from aisbx_runtime.oci import cgroup
    from aisbx_runtime.oci.host import read_text

    paths = tuple(facts.texts("cgroups"))
    try:
        # Field 9 of proc_pid_stat(5), counted from the last parenthesis as the name may hold some.
        flags = int(read_text(f"/proc/{facts.number('pid')}/stat").rpartition(")")[2].split()[6])
    except OSError:
        return False
    # Exiting it is out of its cgroup already, as every zombie is.
    return bool(flags & _PF_EXITING) and bool(paths) and not cgroup.pids(paths)


def kill_cgroup(container: Container, facts: Facts) -> None:
    """Kill every process in the cgroup that create has made for this container."""
    own = _ordered(facts, container.owned("cgroup"))
    if own:
        from aisbx_runtime.oci import cgroup

        cgroup.kill(own, SIGKILL)


def _ordered(facts: Facts, own: list[str]) -> tuple[str, ...]:
    return tuple([path for path in facts.texts("cgroups") if path in own])


def remove_cgroups(container: Container, facts: Facts) -> None:
    """Remove the cgroups that create has made for this container, and no other."""
    own = container.owned("cgroup")
    if facts.text("scope"):
        _stop_scope(container, facts, own)
    if not own:
        return
    from aisbx_runtime.oci import cgroup

    paths = _ordered(facts, own)
    try:
        cgroup.remove(paths)
    except OSError as error:
        raise Failure(
            f"cannot remove the cgroup of container {container.id}",
            why=f"rmdir: {errno.errorcode.get(error.errno or 0, '')} {error.filename or ''}",
            hint="a process in it does not end: see cgroup.procs there",
        ) from None
    for path in reversed(own):
        if path not in paths:
            try:
                os.rmdir(path)
            except OSError:
                # A parent that others use by now, or that is gone already.
                continue


def _stop_scope(container: Container, facts: Facts, own: list[str]) -> None:
    """Let systemd forget the scope: it watches the cgroup, which must not go before.

    Raises Failure when systemd does not answer while the cgroup is there.
    """
    path = "".join(facts.texts("cgroups")[:1])
    started = path in own
    if not container.owned("scope"):
        return
    if started and not os.path.isdir(path) and COLLECT_MODE not in facts.mapping("annotations"):
        # systemd has removed it when its last process ended, and the unit in the same breath.
        return
    from aisbx_runtime.oci.plan import scope

    try:
        scope.stop(facts.text("scope"), path, started=started)
    except Failure:
        if os.path.isdir(path):
            raise


def remove_mounts(container: Container) -> None:
    """Unmount what create has mounted where others see it. Raises Failure."""
    own = container.owned("mount")
    if own:
        from aisbx_runtime.oci.plan import shared_mounts

        shared_mounts.remove(own)
    # There is one mount namespace: both lists have one entry at most.
    for path, mount in zip(
        container.owned("mount-namespace"), container.owned("joined-mount"), strict=False
    ):
        from aisbx_runtime.oci.plan import joined_mounts

        joined_mounts.remove(path, mount)


def remove_resctrl_groups(container: Container, *, failed: bool) -> None:
    """Remove what create has made in resctrl.

    A class of service that config.json names outlives its container, but no failed create.
    """
    own = container.owned("resctrl-until-created") if failed else []
    own += container.owned("resctrl")
    if own:
        from aisbx_runtime.oci.plan import rdt

        rdt.remove(own)


def _remove_files(container: Container) -> None:
    """Remove what a killed create had not yet renamed into place."""
    for path in container.owned("file"):
        try:
            os.unlink(path)
        except OSError:
            # As it should be, or gone with its directory.
            continue


def run_poststop(config: bytes, state: dict[str, object], facts: Facts) -> list[str]:
    """Run the poststop hooks of a container that is gone; return what those that fail say."""
    from aisbx_runtime.oci import hooks, jsontext
    from aisbx_runtime.oci.lifecycle import bundle

    text = jsontext.dump(state).encode()
    directory = facts.text("bundle")
    failed: list[str] = []
    for hook in bundle.parsed(config).hooks.poststop:
        try:
            hooks.run("poststop", hook, text, directory if os.path.isdir(directory) else None)
        except Failure as failure:
            # runtime.md, lifecycle 13: a failing poststop hook is a warning, the rest still runs.
            failed.append(failure.line())
        except OSError as error:
            failed.append(f"cannot run the poststop hook {hook.path}: {why_of(error)}")
    return failed
