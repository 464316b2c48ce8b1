"""Groups of resctrl, written into plain directories: the test machines have no resctrl.

What a kernel would refuse is thus not seen here; order, files and what is compared are.
"""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci.errors import HostError, KernelError, SpecError, StepError
from aisbx_runtime.oci.lifecycle import delete
from aisbx_runtime.oci.plan import rdt
from aisbx_runtime.oci.plan.build import Options, build
from aisbx_runtime.oci.plan.step import World
from aisbx_runtime.oci.spec.model import IntelRdt, Linux, Process, Root, Spec
from tests import hosts


class OwningWorld(World):
    """Remembers what was journaled."""

    def __init__(self) -> None:
        super().__init__("box", "/bundle")
        self.pid = 77
        self.owned: list[tuple[str, str]] = []

    def own(self, kind: str, path: str) -> None:
        self.owned.append((kind, path))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Stand in for the mount: directories get the files that the kernel would put there."""
    made = os.mkdir

    def mkdir(path, mode):
        made(path, mode)
        for name in ("schemata", "tasks"):
            with open(f"{path}/{name}", "w"):
                pass
        if "/mon_groups/" not in path:
            made(f"{path}/mon_groups")

    mkdir(f"{tmp_path}/resctrl", 0o755)
    monkeypatch.setattr(rdt.os, "mkdir", mkdir)
    line = f"30 25 0:27 / {tmp_path}/resctrl rw - resctrl resctrl rw\n"
    monkeypatch.setattr(
        rdt, "read_text", lambda path: line if "mountinfo" in path else text_of(path)
    )
    return f"{tmp_path}/resctrl"


def text_of(path) -> str:
    with open(path) as file:
        return file.read()


def applied(wanted: IntelRdt) -> OwningWorld:
    at = OwningWorld()
    for step in (*rdt.steps(wanted, "box"), *rdt.join_steps(wanted, "box")):
        step.apply(at)
    return at


def test_without_a_name_the_group_is_the_containers_own(tree):
    at = applied(IntelRdt(l3_cache_schema="L3:0=f"))

    assert [("resctrl", f"{tree}/box")] == at.owned
    assert "77" == text_of(f"{tree}/box/tasks")
    assert "L3:0=f\n" == text_of(f"{tree}/box/schemata")


def test_a_name_that_is_new_is_only_removed_when_create_fails(tree):
    at = applied(IntelRdt("gold", mem_bw_schema="MB:0=20"))

    assert [("resctrl-until-created", f"{tree}/gold")] == at.owned


def test_a_group_that_is_there_with_the_same_schemata_is_joined(tree):
    applied(IntelRdt("gold", mem_bw_schema="MB:0=20"))
    with open(f"{tree}/gold/schemata", "w") as file:
        file.write("    MB:0=  20;1= 100\n    L3:0=00f;1=7ff\n")
    at = applied(IntelRdt("gold", l3_cache_schema="L3:0=F", mem_bw_schema="MB:0=20"))

    assert [] == at.owned
    assert "77" == text_of(f"{tree}/gold/tasks")


def test_a_group_that_is_there_with_other_schemata_is_an_error(tree):
    os.mkdir(f"{tree}/gold", 0o755)
    with open(f"{tree}/gold/schemata", "w") as file:
        file.write("L3:0=7f0\n")
    with pytest.raises(StepError) as caught:
        applied(IntelRdt("gold", schemata=("L3:0=f",)))

    assert "L3:0 is 7f0" == caught.value.why


def test_a_name_without_schemata_must_be_there(tree):
    with pytest.raises(StepError, match=r"^there is no resctrl group gold$"):
        applied(IntelRdt("gold"))
    assert not os.path.exists(f"{tree}/gold")


def test_a_name_without_schemata_is_joined_as_it_is(tree):
    rdt.os.mkdir(f"{tree}/gold", 0o755)
    applied(IntelRdt("gold"))

    assert "" == text_of(f"{tree}/gold/schemata")
    assert "77" == text_of(f"{tree}/gold/tasks")


def test_a_slash_is_the_default_class(tree):
    at = applied(IntelRdt("/", enable_monitoring=True))

    assert [("resctrl", f"{tree}/mon_groups/box")] == at.owned
    assert "77" == text_of(f"{tree}/tasks") == text_of(f"{tree}/mon_groups/box/tasks")


def test_a_group_of_the_containers_own_must_be_new(tree):
    os.mkdir(f"{tree}/box", 0o755)
    with pytest.raises(KernelError) as caught:
        applied(IntelRdt())

    assert errno.EEXIST == caught.value.errno


def test_the_schemas_are_written_one_after_the_other():
    # config-linux.md: l3CacheSchema first, memBwSchema after it, schemata last.
    wanted = IntelRdt(
        l3_cache_schema="MB:0=1\nL3:0=f", mem_bw_schema="MB:0=20", schemata=("L2:0=1", "MB:0=30")
    )

    assert ("L3:0=f", "MB:0=20", "L2:0=1", "MB:0=30") == rdt._schemata_of(wanted)


def test_a_schema_of_two_lines_is_refused():
    with pytest.raises(SpecError, match=r"^linux\.intelRdt\.schemata\[1\]: "):
        rdt.steps(IntelRdt(schemata=("L3:0=f", "a\nb")), "box")


def test_without_resctrl_it_is_an_error_of_the_host(monkeypatch):
    monkeypatch.setattr(rdt, "read_text", lambda _: "30 25 0:27 / /proc rw - proc proc rw\n")
    with pytest.raises(HostError) as caught:
        applied(IntelRdt())

    assert "no resctrl file system is mounted" in caught.value.what


def test_what_was_made_is_removed_from_the_inside(tmp_path):
    paths = [f"{tmp_path}/box", f"{tmp_path}/box/inner"]
    for path in paths:
        os.mkdir(path)
    rdt.remove([*paths, f"{tmp_path}/gone"])

    assert [] == os.listdir(tmp_path)


def test_the_group_is_made_before_the_birth_and_joined_after():
    linux = Linux(intel_rdt=IntelRdt("gold", enable_monitoring=True))
    spec = Spec("1.3.0", Root("rootfs"), process=Process(("true",), "/"), linux=linux)
    plan = build(spec, hosts.UNIFIED, "box", "/bundle", Options("/cache"))

    assert [
        "make resctrl group gold", "make resctrl monitoring group box",
    ] == [one.describe() for one in plan.phase("host")[-2:]]  # fmt: skip
    assert "join resctrl group gold, monitoring group box" in [
        one.describe() for one in plan.phase("adopt")
    ]


@pytest.mark.parametrize(
    ("failed", "left"), [(False, ["gold"]), (True, [])], ids=["deleted", "failed"]
)
def test_a_named_class_outlives_its_container_but_no_failed_create(tmp_path, failed, left):
    container = containers.reserve(f"{tmp_path}/state", "box")
    tree = f"{tmp_path}/resctrl"
    for kind, name in (
        (rdt.GROUP_UNTIL_CREATED, "gold"),
        (rdt.GROUP, "gold/box"),
        (rdt.GROUP, "box"),
    ):
        os.makedirs(f"{tree}/{name}")
        container.own(kind, f"{tree}/{name}")
    delete.remove_resctrl_groups(container, failed=failed)

    assert left == os.listdir(tree)


def test_without_it_nothing_of_resctrl_is_planned():
    spec = Spec("1.3.0", Root("rootfs"), process=Process(("true",), "/"), linux=Linux())
    plan = build(spec, hosts.UNIFIED, "box", "/bundle", Options("/cache"))

    assert "resctrl" not in " ".join([step.describe() for _, _, step in plan.numbered()])


def test_every_schema_is_written_to_the_class(tree, monkeypatch):
    # A pipe keeps every write, as resctrl does; a plain file would show the last one only.
    made, readers = rdt.os.mkdir, []

    def mkdir(path, mode):
        made(path, mode)
        os.unlink(f"{path}/schemata")
        os.mkfifo(f"{path}/schemata")
        readers.append(os.open(f"{path}/schemata", os.O_RDONLY | os.O_NONBLOCK))

    monkeypatch.setattr(rdt.os, "mkdir", mkdir)
    applied(IntelRdt("gold", ("L2:0=1",), l3_cache_schema="L3:0=f", mem_bw_schema="MB:0=20"))
    (reader,) = readers
    text = os.read(reader, 4096)
    os.close(reader)

    assert text == b"L3:0=f\nMB:0=20\nL2:0=1\n"


def test_a_monitoring_group_that_cannot_be_made_is_an_error(tree):
    os.mkdir(f"{tree}/mon_groups/box")
    with pytest.raises(KernelError) as caught:
        applied(IntelRdt("/", enable_monitoring=True))

    assert errno.EEXIST == caught.value.errno
