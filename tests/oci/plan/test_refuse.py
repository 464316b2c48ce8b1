"""What is not supported is refused aloud."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.plan import refuse
from aisbx_runtime.oci.spec.model import (
    Device,
    IdMapping,
    IntelRdt,
    Linux,
    Mount,
    Process,
    Root,
    Spec,
    User,
)


def spec(process=None, mounts=(), **linux) -> Spec:
    return Spec("1.2.1", Root("r"), process=process, mounts=mounts, linux=Linux(**linux))


def process(**fields) -> Process:
    return Process(("true",), "/", **fields)


def mount(*options, **fields) -> Mount:
    return Mount("/x", "bind", "/y", options, **fields)


MAPPING = (IdMapping(0, 1, 1),)
REFUSED = [
    ("linux.intelRdt.enableCMT", spec(intel_rdt=IntelRdt("x", enable_cmt=True))),
    ("linux.intelRdt.enableMBM", spec(intel_rdt=IntelRdt("x", enable_mbm=True))),
    ("linux.mountLabel", spec(mount_label="x")),
]


@pytest.mark.parametrize(("name", "asked"), REFUSED)
def test_a_field_that_is_not_supported_is_named(name, asked):
    with pytest.raises(SpecError) as caught:
        refuse.check(asked)

    assert f"{name}: not supported in this version" == caught.value.what
    assert "config.json" == caught.value.where
    assert "remove it" in caught.value.hint


@pytest.mark.parametrize("asked", [spec(), spec(process()), spec(mounts=(mount("ro", "rbind"),))])
def test_what_is_supported_is_let_through(asked):
    refuse.check(asked)


@pytest.mark.parametrize(
    ("way", "fields"),
    [
        ("idmap", {"options": ("idmap",)}),
        ("idmap", {"options": ("ridmap",)}),
        ("idmap", {"uid_mappings": MAPPING, "gid_mappings": MAPPING}),
        ("copy-symlink", {"options": ("copy-symlink",)}),
        ("src-nofollow", {"options": ("src-nofollow",)}),
        ("dest-nofollow", {"options": ("dest-nofollow",)}),
    ],
)
def test_ways_of_binding_are_refused_for_anything_else(way, fields):
    refuse.check(spec(mounts=(Mount("/x", "bind", "/y", **fields),)))
    options = fields.pop("options", ())
    for other in (
        Mount("/x", "tmpfs", "tmpfs", options, **fields),
        Mount("/x", "bind", "/y", (*options, "remount"), **fields),
    ):
        with pytest.raises(SpecError, match=rf"^mounts\[0\]: {way} is for bind mounts"):
            refuse.check(spec(mounts=(other,)))


def test_the_mappings_of_crun_in_the_option_are_refused_and_not_dropped():
    with pytest.raises(SpecError, match=r"^mounts\[0\]\.options: idmap= with mappings"):
        refuse.check(spec(mounts=(mount("bind", "idmap=uids=0-1-10"),)))


def test_a_bind_remount_needs_no_source():
    refuse.check(spec(mounts=(Mount("/x", "bind", "", ("bind", "remount", "ro")),)))


NOBODY = 2**32 - 1


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("process.user.uid", User(uid=NOBODY)),
        ("process.user.gid", User(gid=NOBODY)),
        ("process.user.additionalGids[1]", User(additional_gids=(5, NOBODY))),
    ],
)
def test_the_id_that_means_unchanged_is_refused(name, user):
    # setresuid(2): -1 leaves the id as it is, so the process would stay root.
    with pytest.raises(SpecError) as caught:
        refuse.check_process(process(user=user))

    assert caught.value.what.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("major", "minor", "fine"),
    [(4095, 1048575, True), (4096, 0, False), (0, 1048576, False), (2**32 - 1, 2**32 - 1, False)],
)
def test_a_device_number_that_the_kernel_would_cut_is_refused(major, minor, fine):
    # include/linux/kdev_t.h: 12 and 20 bits; mknod(2) would make another device of it.
    asked = spec(devices=(Device("c", "/dev/x", major, minor),))
    if fine:
        refuse.check(asked)
        return
    with pytest.raises(SpecError, match=r"^linux\.devices\[0\]: "):
        refuse.check(asked)


def test_a_fifo_has_no_number():
    refuse.check(spec(devices=(Device("p", "/dev/x", 2**32 - 1, 2**32 - 1),)))


@pytest.mark.parametrize("entry", [Mount("/x", "bind"), Mount("/x", "", "", ("rbind",))])
def test_a_bind_mount_of_nothing_is_refused(entry):
    # An empty source would be the bundle itself.
    with pytest.raises(SpecError, match=r"^mounts\[0\]\.source: "):
        refuse.check(spec(mounts=(entry,)))
