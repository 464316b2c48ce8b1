"""Which mapping a mount gets."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.plan import mounts, sources
from aisbx_runtime.oci.plan.idmap import MapIds
from aisbx_runtime.oci.spec.model import IdMapping, Linux, Mount, Namespace, Root, Spec
from tests import hosts

OWN = (IdMapping(0, 5000, 10), IdMapping(10, 7000, 1))
INNER = (IdMapping(0, 100000, 65536),)


def mapped_by(*options, namespaces=(), **fields) -> MapIds:
    linux = Linux(namespaces=namespaces, uid_mappings=INNER, gid_mappings=INNER)
    entry = Mount("/x", "", "/y", options, **fields)
    _, step = sources.steps(Spec("1.2.1", Root("r"), mounts=(entry,), linux=linux), "/bundle")
    return step


# podman 5 sends mappings without the option word.
@pytest.mark.parametrize(
    ("options", "recursive"),
    [(("bind",), False), (("rbind", "idmap"), False), (("rbind", "ridmap"), True)],
)
@pytest.mark.parametrize("namespaces", [(), (Namespace("user"),)])
def test_mappings_of_the_mount_are_taken_first(options, recursive, namespaces):
    step = mapped_by(*options, namespaces=namespaces, uid_mappings=OWN, gid_mappings=INNER)

    assert MapIds("/y", OWN, INNER, recursive, "mounts[0]", "mounts[0].uidMappings") == step


# podman 4.3.1 sends the word alone.
def test_the_word_alone_takes_those_of_a_new_user_namespace():
    step = mapped_by("bind", "idmap", namespaces=(Namespace("user"),))

    assert MapIds("/y", INNER, INNER, False, "mounts[0]", "mounts[0].options") == step


def test_the_word_alone_takes_a_user_namespace_by_path_as_it_is():
    step = mapped_by("rbind", "ridmap", namespaces=(Namespace("user", "/proc/7/ns/user"),))

    assert MapIds("/y", (), (), True, "mounts[0]", "mounts[0].options") == step
    assert "as the user namespace of the container does" in step.describe()


def test_a_mapping_is_told():
    step = mapped_by("bind", uid_mappings=OWN, gid_mappings=INNER)

    assert step.describe() == (
        "map the ids of /y: uids 0 -> 5000 x 10, 10 -> 7000 x 1; gids 0 -> 100000 x 65536"
    )


@pytest.mark.parametrize("fields", [{"options": ("idmap",)}, {"uid_mappings": OWN}])
def test_only_root_can_map_ids(fields):
    spec = Spec("1.2.1", Root("r"), mounts=(Mount("/x", "bind", "/y", **fields),))
    mounts.check(spec, hosts.UNIFIED)
    with pytest.raises(HostError, match="only root"):
        mounts.check(spec, hosts.USER)
