"""What a step is, what a plan is made of, and the world that steps act on.

A step knows the JSON path it came from (`origin`) and applies itself in a few system calls.
`describe` and everything before `apply` is pure. Which steps there are lives in the topic files,
their order in `build`.
"""

from __future__ import annotations

from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from aisbx_runtime.oci.spec.model import Hook

    class Step(Protocol):
        """One thing to do: printable before, undone with the container after."""

        @property
        def origin(self) -> str:
            """The JSON path in config.json that asks for this step, or why it is there."""
            ...

        def describe(self) -> str:
            """Return one line, in the imperative."""
            ...

        def apply(self, at: World) -> None:
            """Do it. Raises OSError or Failure; never catches, logs or formats."""
            ...


# Phases in order, and who carries them out.
RUNTIME = "runtime"
INIT = "container init"
PHASES = (
    ("host", RUNTIME),  # before the child is born
    ("birth", RUNTIME),
    ("adopt", RUNTIME),  # the child is born and waits
    ("rootfs", INIT),
    ("join", RUNTIME),  # while container init prepares the rootfs
    ("hooks", RUNTIME),  # prestart, createRuntime: the rootfs is there, not yet the root
    ("pivot", INIT),
    ("confine", INIT),
    ("process", INIT),
    ("limits", RUNTIME),  # the stub waits: the Python heap of init is not charged to the container
)


@record
class Phase:
    """The steps of one phase, in order."""

    name: str
    side: str
    steps: tuple[Step, ...]


@record
class Birth:
    """How container init is born: its new namespaces, those it joins by path, and in which order.

    `joins` are OCI namespace types. `before` are joined by the process that makes the child: the
    pid namespace, which only children enter; all of them when a user namespace takes part, since
    the child of a new one may not join what its owner holds (user_namespaces(7)).
    """

    new: tuple[str, ...]
    joins: tuple[str, ...]
    intermediate: bool
    time_offsets: tuple[tuple[str, int, int], ...]
    origin: str = "linux.namespaces"

    def describe(self) -> str:
        """Return one line, in the imperative."""
        made = ", ".join(self.new) or "none"
        joined = f"; join {', '.join(self.joins)}" if self.joins else ""
        return f"start container init in new namespaces: {made}{joined}"

    def apply(self, at: World) -> None:
        """Never called: birth is carried out by `aisbx_runtime.oci.birth`, which forks."""
        raise NotImplementedError


@record
class Plan:
    """What create would do, whole."""

    phases: tuple[Phase, ...]
    cgroups: tuple[str, ...]
    warnings: tuple[str, ...]
    # Of the systemd cgroup manager: name of the scope, a space, address of its systemd.
    scope: str = ""

    @property
    def birth(self) -> Birth:
        """How create makes container init. Raises KeyError in a plan of another verb."""
        for step in self.phase("birth"):
            if isinstance(step, Birth):
                return step
        raise KeyError("birth")

    def phase(self, name: str) -> tuple[Step, ...]:
        """Return the steps of the phase called `name`."""
        for one in self.phases:
            if one.name == name:
                return one.steps
        raise KeyError(name)

    def numbered(self) -> list[tuple[int, Phase, Step]]:
        """Return (number, phase, step) of every step; numbers start at 1."""
        every = [(phase, step) for phase in self.phases for step in phase.steps]
        return [(number, phase, step) for number, (phase, step) in enumerate(every, 1)]


class World:
    """What steps act on: fds and ids of one container while it is created.

    fds opened by `host` steps are inherited by container init, which is a fork. All are
    close-on-exec and end with the process; nothing here is stored.
    """

    def __init__(self, container_id: str, bundle: str) -> None:
        """Start with nothing open."""
        self.id = container_id
        self.bundle = bundle
        # The container's own directory, for what goes with it.
        self.scratch_fd = -1
        # Runtime side.
        self.pid = 0
        self.pidfd = -1
        self.cgroup_fd = -1
        # Opened by the runtime, used by container init.
        self.namespace_fds: dict[str, int] = {}
        self.trees: dict[str, int] = {}
        self.links: dict[str, str] = {}
        self.filter_fd = -1
        self.filter_program = b""
        self.console_fd = -1
        # The connection to the listener's path; and the listener, until create has it.
        self.listener_socket_fd = -1
        self.listener_fd = -1
        # Container init side.
        self.root_fd = -1
        self.root_path = ""
        self.proc_fd = -1
        self.program = ""
        # Capabilities for the stub alone, as a bit mask.
        self.carried = 0
        self.home = ""
        self.masks: dict[str, int] = {}
        self.masks_in_use: set[str] = set()

    def own(self, kind: str, path: str) -> None:
        """Journal a thing that is about to be made, so that whoever cleans up knows it is ours."""
        raise NotImplementedError

    def run_hooks(
        self, kind: str, hooks: tuple[Hook, ...], confine: Callable[[], object] | None = None
    ) -> None:
        """Run hooks with the container's state on their stdin. Raises Failure of the first.

        `confine` is the last that the process of each calls before it becomes the hook.
        """
        raise NotImplementedError

    def send_terminal(self, master_fd: int, name: str) -> None:
        """Hand the master end of the container's terminal to whoever called the runtime."""
        raise NotImplementedError
