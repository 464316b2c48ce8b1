"""Scheduler, I/O priority, CPU affinity, personality, memory policy, Intel RDT."""

from __future__ import annotations

import json
import os

import pytest

from integration import host
from integration.host import lacks_capability, lacks_controller, lacks_program, text_of
from integration.runtime import call

CAP_SYS_NICE = 23
# Policy -> its number, and the nice value that the kernel makes of 5: SCHED_IDLE has none.
POLICIES = {"SCHED_OTHER": (0, 5), "SCHED_BATCH": (3, 5), "SCHED_IDLE": (5, 0)}
SLEEP = "exec sleep 1000"


@pytest.fixture
def rootly(bundle):
    """A bundle in the cgroups of the session: those of v1 start without realtime runtime."""
    reason = lacks_capability(CAP_SYS_NICE, "CAP_SYS_NICE")
    if reason:
        pytest.skip(reason)
    if "cpu" in host.hierarchies() and os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"):
        bundle.resources(cpu={"realtimeRuntime": 1000, "realtimePeriod": 1_000_000})
    return bundle


def policy_of(pid: int) -> tuple[int, int]:
    """Return what the kernel schedules a process by: policy and priority."""
    shown = {}
    for line in text_of(f"/proc/{pid}/sched").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            shown[name.strip()] = value.strip()
    return int(shown["policy"]), int(shown["prio"])


def nice_of(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def allowed_cpus(status: str) -> str:
    return next(
        line.split()[1] for line in status.splitlines() if line.startswith("Cpus_allowed_list:")
    )


def said_by(program: str, *words: str) -> str:
    reason = lacks_program(program)
    if reason:
        pytest.skip(reason)
    return call([program, *words]).ok().out.strip()


# ---- scheduler -----------------------------------------------------------------------------------
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_an_ordinary_policy_is_the_one_of_the_process(runtime, bundle, policy):
    bundle.config["process"]["scheduler"] = {"policy": policy, "nice": 5}
    container = runtime.started(bundle, SLEEP)

    assert (policy_of(container.pid)[0], nice_of(container.pid)) == POLICIES[policy]


@pytest.mark.parametrize(("policy", "number"), [("SCHED_FIFO", 1), ("SCHED_RR", 2)])
def test_a_realtime_policy_has_its_priority(runtime, rootly, policy, number):
    rootly.config["process"]["scheduler"] = {"policy": policy, "priority": 7}
    container = runtime.started(rootly, SLEEP)

    # kernel/sched: prio is 99 less the realtime priority.
    assert policy_of(container.pid) == (number, 99 - 7)


def test_reset_on_fork_keeps_children_ordinary(runtime, rootly):
    rootly.config["process"]["scheduler"] = {
        "policy": "SCHED_RR", "priority": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"],
    }  # fmt: skip
    script = "sleep 1000 & echo $! >/tmp/child; echo ready; exec sleep 1000"
    container = runtime.ready(rootly, script)

    assert policy_of(container.pid)[0] == 2
    assert policy_line(container.sh("cat /proc/$(cat /tmp/child)/sched")) == 0


def test_a_deadline_policy_has_its_times(runtime, bundle):
    reason = lacks_capability(CAP_SYS_NICE, "CAP_SYS_NICE")
    if reason:
        pytest.skip(reason)
    bundle.config["process"]["scheduler"] = {
        "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000,
        "period": 20_000_000,
    }  # fmt: skip
    container = runtime.started(bundle, SLEEP)
    said = said_by("chrt", "-p", str(container.pid))

    assert policy_of(container.pid)[0] == 6
    assert "1000000/10000000/20000000" in said


def test_a_policy_that_no_kernel_has_is_an_error_that_names_it(runtime, bundle):
    bundle.config["process"]["scheduler"] = {"policy": "SCHED_ISO"}
    result = runtime.try_create(bundle)

    assert result.code == 1
    assert "process.scheduler" in result.message
    assert "sched_setattr: EINVAL" in result.message


def test_a_policy_that_is_refused_is_an_error_that_names_the_field(runtime, bundle):
    bundle.user_namespace()
    bundle.config["process"]["scheduler"] = {"policy": "SCHED_FIFO", "priority": 7}
    result = runtime.try_create(bundle)

    assert result.code == 1
    assert "process.scheduler" in result.message
    assert "sched_setattr: EPERM" in result.message


def test_an_executed_process_has_the_scheduler_of_its_own_file(runtime, bundle):
    container = runtime.started(bundle, SLEEP)
    process = {
        "args": ["/bin/cat", "/proc/self/sched"], "cwd": "/", "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0}, "scheduler": {"policy": "SCHED_BATCH"},
    }  # fmt: skip

    assert policy_line(executed(container, process)) == 3


def policy_line(sched: str) -> int:
    return int(
        next(line for line in sched.splitlines() if line.startswith("policy")).rpartition(":")[2]
    )


def executed(container, process) -> str:
    """Return what a process writes that is described by a file."""
    return execute(container, process).ok().out


def execute(container, process):
    path = f"{container.bundle.path}/process.json"
    with open(path, "w") as file:
        json.dump(process, file)
    return container.runtime("exec", "--process", path, container.id)


# ---- I/O priority --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"class": "IOPRIO_CLASS_BE", "priority": 2}, "best-effort: prio 2"),
        ({"class": "IOPRIO_CLASS_RT", "priority": 3}, "realtime: prio 3"),
        ({"class": "IOPRIO_CLASS_IDLE"}, "idle"),
    ],
)
def test_the_io_priority_is_the_one_of_the_process(runtime, bundle, asked, shown):
    if asked["class"] == "IOPRIO_CLASS_RT" and lacks_capability(CAP_SYS_NICE, "CAP_SYS_NICE"):
        pytest.skip(lacks_capability(CAP_SYS_NICE, "CAP_SYS_NICE"))
    bundle.config["process"]["ioPriority"] = asked
    container = runtime.started(bundle, SLEEP)

    assert said_by("ionice", "-p", str(container.pid)) == shown


# ---- personality ---------------------------------------------------------------------------------
def test_linux32_is_seen_by_every_process(runtime, bundle):
    machine = {"x86_64": "i686", "aarch64": "armv8l"}[os.uname().machine]
    if said_by("setarch", "linux32", "uname", "-m") != machine:
        pytest.skip("this kernel runs no programs of 32 bits")
    bundle.config["linux"]["personality"] = {"domain": "LINUX32"}
    container = runtime.started(bundle, SLEEP)

    assert text_of(f"/proc/{container.pid}/personality").strip() == "00000008"
    assert container.sh("cat /proc/self/personality; uname -m").split() == ["00000008", machine]


def test_the_personality_of_the_caller_does_not_get_in(runtime, bundle):
    bundle.config["linux"]["personality"] = {"domain": "LINUX"}
    bundle.script("cat /proc/self/personality").save()
    reason = lacks_program("setarch")
    if reason:
        pytest.skip(reason)
    words = runtime.argv("run", "--bundle", bundle.path, bundle.id)
    runtime.made.append(bundle.id)

    assert said_by("setarch", "linux32", *words) == "00000000"


def test_flags_are_refused(runtime, bundle):
    bundle.config["linux"]["personality"] = {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}
    result = runtime.try_create(bundle)

    assert result.code == 1
    assert "linux.personality.flags[0]" in result.message


# ---- memory policy -------------------------------------------------------------------------------
@pytest.fixture
def numa():
    if not os.path.exists("/proc/self/numa_maps"):
        pytest.skip("the kernel has no CONFIG_NUMA")


@pytest.mark.usefixtures("numa")
@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
        (
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
            "bind=static:0",
        ),
        (
            {"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]},
            "interleave=relative:0",
        ),
    ],
)
def test_the_memory_policy_is_the_one_of_every_process(runtime, bundle, asked, shown):
    bundle.config["linux"]["memoryPolicy"] = asked
    container = runtime.started(bundle, SLEEP)
    of_init = text_of(f"/proc/{container.pid}/numa_maps")

    assert f" {shown} " in next(line for line in of_init.splitlines() if "stack" in line)
    assert f" {shown} " in next(
        line for line in container.sh("cat /proc/self/numa_maps").splitlines() if "stack" in line
    )


@pytest.mark.usefixtures("numa")
def test_a_node_that_is_not_there_is_an_error_that_names_the_field(runtime, bundle):
    bundle.config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "63"}
    result = runtime.try_create(bundle)

    assert result.code == 1
    assert "linux.memoryPolicy" in result.message
    assert "set_mempolicy: EINVAL" in result.message


# ---- CPU affinity of exec ------------------------------------------------------------------------
@pytest.fixture
def two_cpus():
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("CPUs 0 and 1 are not to be had")


def with_affinity(**affinity: str) -> dict[str, object]:
    return {
        "args": ["/bin/cat", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0}, "execCPUAffinity": affinity,
    }  # fmt: skip


@pytest.mark.usefixtures("two_cpus")
@pytest.mark.parametrize("affinity", [{"final": "1"}, {"initial": "0", "final": "1"}])
def test_an_executed_process_runs_on_its_final_cpus(runtime, bundle, affinity):
    container = runtime.started(bundle, SLEEP)

    assert allowed_cpus(executed(container, with_affinity(**affinity))) == "1"


@pytest.mark.usefixtures("two_cpus")
def test_without_final_cpus_nothing_is_changed_after_the_move(runtime, bundle):
    container = runtime.started(bundle, SLEEP)

    assert allowed_cpus(executed(container, with_affinity(initial="1"))) == "1"


@pytest.mark.usefixtures("two_cpus")
def test_init_runs_where_it_may_and_not_where_exec_would(runtime, bundle):
    bundle.config["process"]["execCPUAffinity"] = {"initial": "1", "final": "1"}
    container = runtime.started(bundle, SLEEP)

    assert os.sched_getaffinity(container.pid) >= {0, 1}


@pytest.mark.usefixtures("two_cpus")
def test_an_exec_without_a_file_takes_the_affinity_of_config_json(runtime, bundle):
    bundle.config["process"]["execCPUAffinity"] = {"final": "1"}
    container = runtime.started(bundle, SLEEP)

    assert allowed_cpus(container.exec("/bin/cat", "/proc/self/status").ok().out) == "1"


@pytest.mark.usefixtures("two_cpus")
def test_an_executed_process_does_not_inherit_where_the_caller_runs(runtime, bundle):
    container = runtime.started(bundle, SLEEP)
    said = said_by("taskset", "-c", "1", *runtime.argv("exec", container.id, "/bin/nproc"))

    assert said == str(os.cpu_count())


@pytest.mark.usefixtures("two_cpus")
def test_final_cpus_outside_of_the_cpuset_are_an_error(runtime, bundle):
    reason = lacks_controller("cpuset")
    if reason:
        pytest.skip(reason)
    bundle.resources(cpu={"cpus": "0", "mems": "0"})
    container = runtime.started(bundle, SLEEP)
    result = execute(container, with_affinity(final="1"))

    assert result.code != 0
    assert "sched_setaffinity: EINVAL" in result.message


# ---- Intel RDT -----------------------------------------------------------------------------------
def test_without_resctrl_a_class_of_service_is_an_error_that_says_so(runtime, bundle):
    if " - resctrl " in text_of("/proc/self/mountinfo"):
        pytest.skip("resctrl is mounted here")
    bundle.config["linux"]["intelRdt"] = {"closID": "gold", "schemata": ["L3:0=f"]}
    result = runtime.try_create(bundle)

    assert result.code == 1
    assert "linux.intelRdt: no resctrl file system is mounted" in result.message
