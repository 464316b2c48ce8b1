"""How the program may be called: by link, by name, from anywhere."""

from __future__ import annotations

import os

import pytest

from integration.differences import known_of_runc
from integration.runtime import PATH, call


def test_the_program_works_through_a_link_of_another_name(runtime, bundle, tmp_path):
    # The shim looks for `runc` in PATH.
    os.symlink(runtime.program, tmp_path / "runc")
    bundle.script("echo hi").save()
    runtime.made.append(bundle.id)
    words = ["runc", "--root", runtime.root, "run", "--bundle", bundle.path, bundle.id]

    assert call(words, env={"PATH": f"{tmp_path}:{PATH}"}).out == "hi\n"


def test_the_program_works_from_a_directory_that_was_removed(runtime, bundle, tmp_path):
    bundle.script("echo hi").save()
    runtime.made.append(bundle.id)
    gone = tmp_path / "gone"
    gone.mkdir()
    argv = runtime.argv("run", "--bundle", bundle.path, bundle.id)
    result = call(["sh", "-c", f'cd {gone} && rmdir {gone} && exec "$@"', "sh", *argv])

    assert result.out == "hi\n"


@pytest.mark.parametrize("name", ["json.py", "os.py", "encodings.py", "sitecustomize.py"])
def test_modules_in_the_working_directory_are_not_imported(runtime, bundle, name):
    # The bundle is the shim's working directory, and may hold whatever an image brings.
    with open(f"{bundle.path}/{name}", "w") as out:
        out.write("raise SystemExit(99)\n")
    bundle.script("echo hi").save()
    runtime.made.append(bundle.id)

    assert runtime("run", bundle.id, cwd=bundle.path).out == "hi\n"


def test_modules_in_the_rootfs_are_not_imported(runtime, bundle):
    # A host-privileged process that imports from the container hands the host to it.
    for version in ("3", "3.11", "3.12", "3.13"):
        for top in ("usr/lib", "usr/local/lib"):
            path = f"{bundle.rootfs}/{top}/python{version}"
            os.makedirs(f"{path}/encodings")
            for name in ("os.py", "json.py", "traceback.py", "linecache.py", "encodings/idna.py"):
                with open(f"{path}/{name}", "w") as out:
                    out.write("open('/imported', 'w')\n")
    container = runtime.started(bundle)
    container.sh("true")
    container.exec("nosuch")

    assert not os.path.exists(f"{bundle.rootfs}/imported")
    assert not os.path.exists("/imported")


def test_a_bundle_path_may_end_with_a_slash(runtime, bundle):
    bundle.script("echo hi").save()
    runtime.made.append(bundle.id)

    assert runtime("run", "--bundle", f"{bundle.path}/", bundle.id).out == "hi\n"


def test_a_bundle_path_may_be_a_link(runtime, bundle, tmp_path):
    bundle.script("echo hi").save()
    runtime.made.append(bundle.id)
    os.symlink(bundle.path, tmp_path / "link")

    assert runtime("run", "--bundle", str(tmp_path / "link"), bundle.id).out == "hi\n"


def test_a_bundle_path_may_have_blanks_and_other_letters(runtime, bundle, scratch):
    path = f"{scratch}/a ü bundle"
    os.symlink(bundle.path, path)
    bundle.script("echo hi").save()
    runtime.made.append(bundle.id)
    result = runtime("run", "--bundle", path, bundle.id)
    os.unlink(path)

    assert result.out == "hi\n"


def test_what_is_piped_to_create_is_read_by_the_program(runtime, bundle):
    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"hello\n")
    os.close(write_fd)
    out_read, out_write = os.pipe()
    container = runtime.create(bundle.script("cat"), stdin=read_fd, stdout=out_write)
    os.close(read_fd)
    os.close(out_write)
    container.start()
    container.wait()
    text = os.read(out_read, 100)
    os.close(out_read)

    assert text == b"hello\n"


def test_start_and_kill_do_not_touch_standard_input(runtime, bundle):
    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"hello\n")
    os.close(write_fd)
    container = runtime.create(bundle.script("exec sleep 1000"))
    container.start(stdin=read_fd)
    container.verb("state", stdin=read_fd)
    text = os.read(read_fd, 100)
    os.close(read_fd)

    assert text == b"hello\n"


def test_a_container_outlives_the_directory_of_its_bundle(runtime, bundle):
    # podman: the bundle lies in the container's storage; delete comes after it is gone.
    container = runtime.create(bundle.script("true")).start()
    container.wait()
    os.rename(f"{bundle.path}/config.json", f"{bundle.path}/other")

    assert container.status == "stopped"
    assert container.delete().code == 0


def test_a_config_changed_after_create_changes_nothing(runtime, bundle):
    bundle.config["process"]["env"].append("A=1")
    container = runtime.create(bundle.script("exec sleep 1000"))
    bundle.config["hostname"] = "other"
    bundle.config["process"]["env"].append("A=2")
    bundle.save()
    container.start()
    lines = container.sh("hostname; echo $A").splitlines()
    known_of_runc(runtime, "exec reads config.json again", seen=lines[1] == "2")

    # runtime.md, lifecycle 2
    assert lines == ["runc", "1"]
