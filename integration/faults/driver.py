"""The runtime of this checkout with faults in it: `driver.py FAULTS ARGUMENT-OF-THE-RUNTIME...`.

Run with the interpreter and the flags of bin/aisbx-runtime. FAULTS is `none`, or faults joined by
`+`, each DO:WHEN:KIND:NAME:NUMBER.

DO      fail    the thing does not happen, or has just happened, and EIO is raised (syscall `fault`)
        kill    the runtime is SIGKILLed; container init has it done and waits for its end
WHEN    before, after
KIND    step    step NUMBER of the plan; NAME is empty
        call    call number NUMBER of the function NAME, a dotted path into aisbx_runtime.oci
        file    call number NUMBER, in the runtime, of a function of `system` (its `os`) that is
                listed in NAME (joined by `,`), counted from when the verb turns to its container
For each fault that comes to pass one byte is written to the file that AISBX_FAULT_MARK names.
Nothing is asserted here.
"""

from __future__ import annotations

import _signal
import errno
import fcntl
import os
import select
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from aisbx_runtime.oci import birth, cli, container, system  # noqa: E402
from aisbx_runtime.oci.errors import kernel_error  # noqa: E402
from aisbx_runtime.oci.lifecycle import attempt  # noqa: E402
from aisbx_runtime.oci.plan.step import Birth, Phase, Plan  # noqa: E402

PACKAGE = "aisbx_runtime.oci"
# Out of the way of the fds whose numbers the runtime takes care of.
HIGH_FD = 500
_write, _kill = os.write, os.kill


def _high(fd):
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH_FD)
    os.close(fd)
    return high


PID = os.getpid()
PID_FD = _high(os.pidfd_open(PID))
KILLER_FDS = []
MARK_FD = _high(os.open(os.environ.pop("AISBX_FAULT_MARK", "/dev/null"), os.O_WRONLY | os.O_APPEND))


class Fault:
    def __init__(self, words):
        self.do, self.when, self.kind, self.name, number = words.split(":")
        self.number = int(number)
        self.seen = 0

    def around(self, function, *args, **options):
        """Call a function with the fault before or after it, if it is its turn."""
        self.seen += 1
        if self.seen != self.number:
            return function(*args, **options)
        return self.strike(function, *args, **options)

    def strike(self, function, *args, **options):
        if self.when == "before":
            self.happen()
        result = function(*args, **options)
        # A function that forks returns twice, and the fault is the runtime's.
        if self.when == "after" and not (function is give_birth and os.getpid() != PID):
            self.happen()
        return result

    def happen(self):
        _write(MARK_FD, b"!")
        if self.do == "fail":
            raise kernel_error(errno.EIO, "fault")
        if os.getpid() == PID:
            _kill(PID, _signal.SIGKILL)
        _write(KILLER_FDS[0], b"!")
        ended = select.poll()
        ended.register(PID_FD, select.POLLIN)
        ended.poll()
        # Still there? Then this process goes on without the runtime.


def fork_killer():
    """Have a process kill the runtime: from a pid namespace below none may, not even by pidfd."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        os.close(write_fd)
        if os.read(read_fd, 1):
            _signal.pidfd_send_signal(PID_FD, _signal.SIGKILL)
        os._exit(0)
    os.close(read_fd)
    KILLER_FDS.append(_high(write_fd))


def faulty_step(step, fault):
    """Return a step of the same class: exec looks for one by it."""

    class Faulty(type(step)):
        def apply(self, at):
            fault.strike(step.apply, at)

    made = object.__new__(Faulty)
    made.__dict__.update(step.__dict__)
    return made


give_birth = birth.give_birth


def plant_in_plan(plan, fault):
    for number, _, step in plan.numbered():
        if number == fault.number and not isinstance(step, Birth):
            break
    else:
        if fault.number <= len(plan.numbered()):
            birth.give_birth = lambda *args: fault.strike(give_birth, *args)
        return plan
    phases, number = [], 0
    for phase in plan.phases:
        steps = []
        for step in phase.steps:
            number += 1
            steps.append(faulty_step(step, fault) if number == fault.number else step)
        phases.append(Phase(phase.name, phase.side, tuple(steps)))
    return Plan(tuple(phases), plan.cgroups, plan.warnings)


def plant_step(fault):
    from aisbx_runtime.oci.lifecycle import create
    from aisbx_runtime.oci.lifecycle import exec as exec_verb

    for module, name in ((create, "build"), (exec_verb, "plan_of")):
        make = getattr(module, name)
        setattr(module, name, lambda *args, make=make: plant_in_plan(make(*args), fault))


def plant_call(fault):
    module, rest = f"{PACKAGE}.{fault.name}", []
    while True:
        try:
            __import__(module)
            break
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
    owner = sys.modules[module]
    for name in rest[:-1]:
        owner = getattr(owner, name)
    function = getattr(owner, rest[-1])
    setattr(owner, rest[-1], lambda *args, **options: fault.around(function, *args, **options))


def plant_file(fault):
    counting = []

    def turn_to(function):
        def begun(*args):
            counting.append(True)
            return function(*args)

        return begun

    def counted(function):
        def called(*args, **options):
            if counting and os.getpid() == PID:
                return fault.around(function, *args, **options)
            return function(*args, **options)

        return called

    container.reserve, container.load = turn_to(container.reserve), turn_to(container.load)
    for name in fault.name.split(","):
        setattr(system, name, counted(getattr(system, name)))


def spare_own_fds():
    """Keep the runtime from closing the fds of this module as what leaked in from its caller."""
    settle = attempt.settle
    attempt.settle = lambda preserve: tuple([fd for fd in settle(preserve) if fd < HIGH_FD])


PLANT = {"step": plant_step, "call": plant_call, "file": plant_file}

if __name__ == "__main__":
    spare_own_fds()
    for words in sys.argv[1].split("+"):
        if words != "none":
            planted = Fault(words)
            PLANT[planted.kind](planted)
            if planted.do == "kill":
                fork_killer()
    cli.main(sys.argv[2:])
