"""Planning is a pure function, and fails with a Failure only; its phases come in one order."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci.errors import Failure, SpecError
from aisbx_runtime.oci.lifecycle.plan import json_of, text_of
from aisbx_runtime.oci.plan.build import Options, build
from aisbx_runtime.oci.plan.process import KEEP_GROUPS
from aisbx_runtime.oci.plan.step import INIT, PHASES, RUNTIME, Plan
from aisbx_runtime.oci.spec import parse
from aisbx_runtime.oci.systemd.instance import Instance
from tests import hosts
from tests.strategies import base_config, names, valid_configs

OPTIONS = Options("/cache")


def spec_of(config):
    return parse.spec_of(json.dumps(config), "config.json")


def plan_of(config, host=hosts.UNIFIED, options=OPTIONS):
    return build(spec_of(config), host, "one", "/bundle", options)


def described(plan: Plan, phase: str) -> list[str]:
    return [step.describe() for step in plan.phase(phase)]


# ---- properties ----------------------------------------------------------------------------------
some_options = st.builds(
    Options,
    st.just("/cache"),
    st.sampled_from(["cgroupfs", "disabled", "systemd"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, Instance(False, "unix:path=/run/systemd/private", "")]),
)
some_hosts = st.sampled_from(list(hosts.ALL.values()))


@st.composite
def plannable(draw):
    """Return a valid config without the fields that are refused whatever the rest says."""
    config = draw(valid_configs)
    linux = config["linux"]
    for key in ("personality", "intelRdt", "memoryPolicy", "netDevices", "mountLabel"):
        linux.pop(key, None)
    config.setdefault("process", base_config()["process"])
    for key in ("scheduler", "ioPriority", "execCPUAffinity"):
        config["process"].pop(key, None)
    wanted = draw(st.sets(st.sampled_from(["user", "mount", "time", "network", "pid"])))
    linux["namespaces"] = [
        one for one in linux["namespaces"] if one["type"] in {*wanted, "ipc", "uts", "cgroup"}
    ]
    if "user" not in wanted:
        linux.pop("uidMappings"), linux.pop("gidMappings")
    if "mount" not in wanted:
        linux.pop("maskedPaths", None), linux.pop("readonlyPaths", None)
    if "time" not in wanted:
        linux.pop("timeOffsets", None)
    if "network" not in wanted:
        linux.pop("sysctl", None)
    return config


class Watch:
    """An audit hook (PEP 578) that sees every file, process and socket that Python touches."""

    SEEN = ("open", "os.", "socket.", "subprocess.", "ctypes.", "fcntl.", "shutil.", "tempfile.")

    def __init__(self):
        self.active = False
        self.events: list[tuple[str, object]] = []
        sys.addaudithook(self._note)

    def _note(self, event, args):
        if self.active and event.startswith(self.SEEN):
            self.events.append((event, args))

    def __enter__(self):
        self.events.clear()
        self.active = True
        return self

    def __exit__(self, *_):
        self.active = False


WATCH = Watch()


@given(valid_configs | plannable(), some_hosts, some_options, names)
def test_planning_a_valid_config_gives_a_plan_or_a_failure_and_touches_nothing(
    config, host, options, container_id
):
    spec = spec_of(config)
    with WATCH:
        try:
            plan = build(spec, host, container_id, "/bundle", options)
        except Failure as failure:
            assert failure.what  # noqa: PT017
            assert failure.line().isascii() or failure.line()  # noqa: PT017
            plan = None
        seen = list(WATCH.events)

    # Modules that only some plans need are loaded at the first of them.
    assert [] == [one for one in seen if not is_import(*one)]
    if plan is not None:
        assert plan == build(spec, host, container_id, "/bundle", options)
        assert spec == spec_of(config)


def is_import(event, args):
    return (event == "open" and str(args[0]).endswith((".py", ".pyc"))) or event == "os.listdir"


@given(plannable(), some_hosts)
def test_every_step_says_what_it_does_on_one_line(config, host):
    try:
        plan = plan_of(config, host)
    except Failure:
        return
    text = text_of(plan)
    phases = [phase for phase in plan.phases if phase.steps]

    assert len(phases) + len(plan.numbered()) + len(plan.warnings) == len(text.splitlines())
    for step in json_of(plan)["steps"]:
        assert step["does"].isprintable()
        assert step["does"].strip()
        assert step["origin"].isprintable()


def test_most_valid_configs_can_be_planned():
    """Guard of the two properties above: they would hold of plans that never come about."""
    planned = []

    @given(plannable(), some_hosts)
    @settings(max_examples=50, database=None)
    def count(config, host):
        try:
            planned.append(plan_of(config, host, Options("/cache", "disabled")))
        except Failure:
            return

    count()

    assert len(planned) > 10


# ---- the order -----------------------------------------------------------------------------------
def test_phases_come_in_their_order_each_on_its_side():
    plan = plan_of(base_config())

    assert [name for name, _ in PHASES] == [phase.name for phase in plan.phases]
    assert {"host": RUNTIME, "rootfs": INIT, "limits": RUNTIME}.items() <= dict(PHASES).items()


def test_steps_are_numbered_from_1_through_all_phases():
    plan = plan_of(base_config())
    steps = [step for phase in plan.phases for step in phase.steps]

    assert list(range(1, len(steps) + 1)) == [number for number, _, _ in plan.numbered()]
    assert steps == [step for _, _, step in plan.numbered()]


def test_there_is_no_phase_of_another_name():
    with pytest.raises(KeyError):
        plan_of(base_config()).phase("nosuch")


def full_config():
    config = base_config()
    config["process"] |= {
        "terminal": True,
        "noNewPrivileges": True,
        "oomScoreAdj": 5,
        "apparmorProfile": "docker-default",
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}],
    }
    config["hostname"] = "h"
    config["root"]["readonly"] = True
    config["mounts"] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]},
        {"destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "ro"]},
    ]
    config["linux"] |= {
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "sysctl": {"net.core.somaxconn": "1"},
        "resources": {"memory": {"limit": 1 << 20}},
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
    }
    hook = [{"path": "/bin/true"}]
    config["hooks"] = dict.fromkeys(("prestart", "createRuntime", "createContainer"), hook)
    return config


def position(plan: Plan, words: str) -> int:
    found = [number for number, _, step in plan.numbered() if words in step.describe()]
    assert 1 == len(found), (words, found)
    return found[0]


# Each pair: the first must come before the second, or what is said in the comment breaks.
ORDER = [
    ("take the rootfs", "start container init"),  # by the caller's rights and mounts
    ("make every inherited mount", "take /bundle/data"),  # what is private has no peers
    ("take /bundle/data", "run createContainer hooks"),  # which could lead its path elsewhere
    ("load the seccomp filter", "start container init"),  # init imports nothing
    ("join a new session keyring", "attach the rootfs"),  # before the container's procfs is there
    ("keep a private procfs", "mount proc"),  # the container's may be a trap
    ("make every inherited mount", "attach the rootfs"),  # nothing mounted may reach the host
    ("mount tmpfs at /dev", "make the device /dev/null"),  # nodes belong into the tmpfs
    ("link /dev/fd", "make the mount /dev read-only"),  # a read-only /dev takes no nodes
    ("open a terminal", "make the mount /dev read-only"),  # /dev/console may have to be made
    ("run prestart hooks", "run createRuntime hooks"),
    ("run createRuntime hooks", "run createContainer hooks"),
    ("run createContainer hooks", "pivot to the rootfs"),  # runtime.md, lifecycle 5
    ("pivot to the rootfs", "open a terminal"),
    ("open a terminal", "make the root read-only"),  # /dev/console may have to be made
    ("set the hostname", "make /proc/sys read-only"),
    ("set net.core.somaxconn", "make /proc/sys read-only"),
    ("make /proc/sys read-only", "mask /proc/kcore"),  # a mask below it must stay
    ("mask /proc/kcore", "set no_new_privs"),
    ("check that apparmor", "set no_new_privs"),
    ("limit RLIMIT_NOFILE", "keep in the bounding set"),  # raising needs CAP_SYS_RESOURCE
    ("enter / before", "become uid 0"),
    ("keep in the bounding set", "become uid 0"),  # dropping needs CAP_SETPCAP
    ("become uid 0", "set capabilities"),
    ("set capabilities", "enter / as the user"),
    ("enter / as the user", "look up the program"),
    ("set oom_score_adj", "attach the rootfs"),  # by the runtime, which may lower it
]


@pytest.mark.parametrize(("first", "second"), ORDER)
def test_order(first, second):
    plan = plan_of(full_config())

    assert position(plan, first) < position(plan, second)


def test_limits_are_last_when_only_the_stub_is_left():
    plan = plan_of(full_config())

    assert "limits" == plan.phases[-1].name
    assert any("memory.max" in line for line in described(plan, "limits"))


def test_without_no_new_privs_the_filter_is_installed_while_capabilities_are_there():
    config = full_config()
    config["process"]["noNewPrivileges"] = False
    plan = plan_of(config)

    assert position(plan, "install the seccomp filter") < position(plan, "keep in the bounding set")


def test_with_no_new_privs_the_stub_installs_it():
    assert not any("install the seccomp filter" in line
                   for line in described(plan_of(full_config()), "process"))  # fmt: skip


def notifying(*names, **more):
    config = full_config()
    config["process"]["noNewPrivileges"] = True
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": "/run/listener",
        "syscalls": [{"names": list(names), "action": "SCMP_ACT_NOTIFY"}],
        **more,
    }
    return config


def test_a_filter_with_a_listener_is_installed_by_init_at_its_end():
    plan = plan_of(notifying("mkdirat"))

    assert described(plan, "process")[-1] == "install the seccomp filter and hand over its listener"
    assert "connect to the seccomp listener at /run/listener" in described(plan, "host")


@pytest.mark.parametrize(
    ("names", "more", "at"),
    [
        (["mkdirat", "write"], {}, r"syscalls\[0\]"),
        (["sendmsg"], {}, r"syscalls\[0\]"),
        ([], {"defaultAction": "SCMP_ACT_NOTIFY", "syscalls": []}, "defaultAction"),
    ],
)
def test_a_listener_that_could_not_be_handed_over_is_refused(names, more, at):
    with pytest.raises(SpecError, match=at):
        plan_of(notifying(*names, **more))


# ---- options and refusals ------------------------------------------------------------------------
def test_without_a_process_there_is_nothing_to_create():
    config = base_config()
    del config["process"]
    with pytest.raises(SpecError, match="process: required"):
        plan_of(config)


def test_the_keyring_can_be_kept():
    plan = plan_of(base_config(), options=Options("/cache", no_new_keyring=True))

    assert "join a new session keyring" not in described(plan, "rootfs")


def test_pivot_can_be_replaced_by_chroot():
    plan = plan_of(base_config(), options=Options("/cache", no_pivot=True))

    assert [
        "move the rootfs onto the old root, take the mounts of the host away",
        "chroot to the rootfs",
    ] == described(plan, "pivot")


def test_without_a_cgroup_manager_there_are_no_cgroups():
    plan = plan_of(full_config(), options=Options("/cache", "disabled"))

    assert ((), ()) == (plan.cgroups, plan.phase("limits"))


def test_an_unknown_capability_is_a_warning():
    config = base_config()
    config["process"]["capabilities"] = {"bounding": ["CAP_NEW", "CAP_KILL"]}

    assert ("process.capabilities: CAP_NEW is unknown here and ignored",) == plan_of(
        config
    ).warnings


def test_groups_are_the_callers_where_they_are_to_be_kept():
    config = base_config()
    config["annotations"] = {KEEP_GROUPS: "1"}
    (step,) = [one for one in plan_of(config).phase("process") if "become uid" in one.describe()]

    assert step.set_groups is False


def test_groups_that_cannot_be_set_are_refused():
    config = base_config()
    config["process"]["user"]["additionalGids"] = [5]
    with pytest.raises(SpecError, match="additionalGids"):
        plan_of(config, hosts.host(user_namespace=True, may_setgroups=False))


def test_where_groups_cannot_be_set_and_none_are_asked_for_none_are_set():
    plan = plan_of(base_config(), hosts.host(user_namespace=True, may_setgroups=False))
    (step,) = [one for one in plan.phase("process") if "become uid" in one.describe()]

    assert step.set_groups is False


def test_a_cgroup_mount_is_made_of_what_the_host_has():
    config = base_config()
    config["mounts"] = [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}]
    unified = described(plan_of(config), "rootfs")
    hybrid = described(plan_of(config, hosts.HYBRID), "rootfs")

    assert any("cgroup2" in line for line in unified)
    assert unified != hybrid


def test_facts_of_ids_do_not_reach_paths():
    # An id is checked where it comes in: nothing of a plan quotes it as a part of a path.
    with pytest.raises(Failure):
        containers.check_id("../x")
