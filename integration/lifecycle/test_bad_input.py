"""What is refused: with which exit code and sentence, and that nothing is left or touched.

The leak check of every test sees to processes, mounts, cgroups and state directories.
"""

from __future__ import annotations

import json
import os

import pytest

from integration import needs
from integration.differences import known_of_runc
from integration.leaks import cgroups

# podman and docker turn these words into exit codes 126 and 127.
RESERVED = (
    "no such file or directory",
    "permission denied",
    "operation not permitted",
    "not found",
)


def refused(runtime, bundle, text=None):
    """Create must fail with exit 1 and one line, and leave nothing; return the line."""
    bundle.save(text)
    runtime.made.append(bundle.id)
    path = f"{bundle.path}/pid"
    before = cgroups()
    result = runtime("create", "--bundle", bundle.path, "--pid-file", path, bundle.id)
    known_of_runc(runtime, "it panics", seen=result.code == 2)

    assert (result.code, result.out) == (1, ""), result
    assert result.err.count("\n") == 1 or runtime.name == "runc", result
    assert "Traceback" not in result.err
    assert not os.path.exists(path)
    assert runtime("state", bundle.id).code == 1
    assert cgroups() == before
    return result.message


@pytest.mark.parametrize(
    "container_id",
    ["a/b", "../x", "..", ".", "/abs", "", "a b", "a\nb", "é", "a/../b", "x" * 5000, "a\\b"],
)
def test_an_id_that_is_no_name_is_refused(runtime, bundle, container_id):
    bundle.save()
    result = runtime("create", "--bundle", bundle.path, container_id)
    listed = runtime("list", "-q").out

    assert result.code == 1
    assert listed == ""


@pytest.mark.parametrize("verb", ["state", "kill", "delete", "start", "pause", "exec"])
@pytest.mark.parametrize("container_id", ["../state", "a/b", "..", "."])
def test_no_verb_leaves_the_state_directory(runtime, bundle, state_root, verb, container_id):
    runtime.create(bundle)
    words = ["/bin/true"] if verb == "exec" else []

    assert runtime(verb, container_id, *words).code != 0
    assert bundle.id in os.listdir(state_root)


@pytest.mark.parametrize("container_id", ["../state", "..", "."])
def test_delete_force_of_such_an_id_removes_nothing(runtime, bundle, state_root, container_id):
    runtime.create(bundle)
    runtime("delete", "--force", container_id)

    assert bundle.id in os.listdir(state_root)
    assert runtime("state", bundle.id).code == 0


@pytest.mark.parametrize("container_id", ["a", "A.b_c-d+e", "0", "x" * 128])
def test_a_usual_id_is_taken(runtime, bundle, container_id):
    bundle.save()
    runtime.made.append(container_id)

    assert runtime("create", "--bundle", bundle.path, container_id).code == 0


def test_a_second_container_of_the_same_id_is_refused(runtime, new_bundle):
    first, second = new_bundle(), new_bundle()
    container = runtime.started(first)
    second.save()
    result = runtime("create", "--bundle", second.path, first.id)

    assert result.code == 1
    assert "container with given ID already exists" in result.err
    assert container.status == "running"
    assert container.state()["bundle"] == first.path


def test_run_with_an_id_in_use_leaves_the_other_container(runtime, new_bundle):
    first, second = new_bundle(), new_bundle()
    container = runtime.started(first)
    second.save()

    assert runtime("run", "--bundle", second.path, first.id).code == 1
    assert container.status == "running"


def test_a_missing_bundle_is_refused(runtime):
    result = runtime("create", "--bundle", "/no/such/bundle", "x")

    assert result.code == 1
    assert "bundle" in result.err


def test_a_missing_config_is_refused(runtime, tmp_path):
    result = runtime("create", "--bundle", str(tmp_path), "x")

    assert result.code == 1
    assert "config.json" in result.err


def test_a_missing_rootfs_is_refused(runtime, bundle):
    bundle.config["root"]["path"] = "nosuch"

    assert refused(runtime, bundle)


def test_a_rootfs_that_is_a_file_is_refused(runtime, bundle):
    bundle.config["root"]["path"] = "config.json"

    assert refused(runtime, bundle)


def test_a_missing_program_is_refused_by_create(runtime, bundle):
    message = refused(runtime, bundle.args("/no/such/program"))

    assert 'exec: "/no/such/program": stat /no/such/program: no such file or directory' in message


def test_a_program_that_is_not_in_the_path_is_refused_by_create(runtime, bundle):
    message = refused(runtime, bundle.args("nosuch"))

    assert 'exec: "nosuch": executable file not found in $PATH' in message


def test_a_program_that_is_not_executable_is_refused_by_create(runtime, bundle):
    assert 'exec: "/etc/passwd": permission denied' in refused(runtime, bundle.args("/etc/passwd"))


def test_a_directory_as_program_is_refused_by_create(runtime, bundle):
    # runc 1.1: permission denied; newer: is a directory. Both are 126 for the engines.
    message = refused(runtime, bundle.args("/etc"))

    assert "permission denied" in message or "is a directory" in message


@needs.ids
def test_a_program_the_user_may_not_execute_is_refused_by_create(runtime, bundle):
    bundle.file("opt/mine", "#!/bin/sh\n", 0o700)
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}

    assert "permission denied" in refused(runtime, bundle.args("/opt/mine"))


def test_an_interpreter_that_is_missing_is_a_failure(runtime, bundle):
    # Only execve can find this out: it may fail at start.
    bundle.file("opt/mine", "#!/no/such/shell\n", 0o755)
    result = runtime.run(bundle.args("/opt/mine"))

    assert result.code not in {0, 120}


def test_a_file_that_is_no_program_is_a_failure(runtime, bundle):
    bundle.file("opt/mine", "\x01\x02", 0o755)

    assert runtime.run(bundle.args("/opt/mine")).code != 0


def test_a_program_cannot_be_reached_through_a_descriptor(runtime, bundle):
    # CVE-2024-21626
    for number in (3, 7, 9):
        bundle.args(f"/proc/self/fd/{number}/../../bin/sh", "-c", "exit 0")

        assert runtime.run(bundle).code != 0


@pytest.mark.parametrize("number", [3, 5, 6, 7, 8, 9, 10])
def test_the_working_directory_cannot_be_a_descriptor_of_the_host(runtime, bundle, number):
    # CVE-2024-21626
    bundle.config["process"]["cwd"] = f"/proc/self/fd/{number}"
    result = runtime.run(bundle, "ls ../../../../../../work 2>/dev/null; pwd")
    known_of_runc(runtime, "1.1.5 has CVE-2024-21626", seen=result.code == 0)

    assert result.code != 0


def test_a_working_directory_that_is_a_file_is_refused(runtime, bundle):
    bundle.config["process"]["cwd"] = "/etc/passwd"

    assert refused(runtime, bundle)


def test_a_relative_working_directory_is_refused(runtime, bundle):
    bundle.config["process"]["cwd"] = "tmp"

    assert refused(runtime, bundle)


def test_a_missing_mount_source_is_refused(runtime, bundle):
    bundle.mount("/mnt", "bind", "/no/such/source", "rbind")
    message = refused(runtime, bundle)
    if runtime.name != "runc":
        # It is not the user's command: the words for exit code 127 must not come.
        assert not [words for words in RESERVED if words in message.lower()]

    assert "/no/such/source" in message


def test_an_unknown_namespace_is_refused(runtime, bundle):
    bundle.config["linux"]["namespaces"].append({"type": "nosuch"})

    assert "nosuch" in refused(runtime, bundle)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "1", '"x"', "{}", '{"ociVersion": 1}', "\x00", '{"process": []}'],
)
def test_a_config_that_is_no_config_is_refused(runtime, bundle, text):
    assert refused(runtime, bundle, text)


def test_a_config_that_is_no_text_is_refused(runtime, bundle):
    with open(f"{bundle.path}/config.json", "wb") as out:
        out.write(b'{"ociVersion": "\xff\xfe"}')
    result = runtime("create", "--bundle", bundle.path, bundle.id)

    assert result.code == 1
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["mounts", 0, "options"], "ro"),
        (["process", "args"], "sh"),
        (["process", "args"], [1]),
        (["process", "user", "uid"], "root"),
        (["process", "user", "uid"], -1),
        (["linux", "namespaces"], {}),
        (["linux", "resources", "devices"], "all"),
        (["hostname"], 5),
        (["root"], "rootfs"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_with_its_place(runtime, bundle, path, value):
    place = bundle.config
    for word in path[:-1]:
        place = place[word]
    place[path[-1]] = value
    message = refused(runtime, bundle)

    if runtime.name != "runc":
        assert str([word for word in path if isinstance(word, str)][-1]) in message


@pytest.mark.parametrize("args", [[], [""]])
def test_a_process_without_a_program_is_refused(runtime, bundle, args):
    bundle.config["process"]["args"] = args

    assert refused(runtime, bundle)


def test_a_relative_mount_destination_is_refused_or_taken_as_absolute(runtime, bundle):
    bundle.mount("mnt", "tmpfs", "tmpfs")
    result = runtime.run(bundle, "grep -c ' /mnt ' /proc/self/mountinfo")

    assert result.code == 1 or result.out == "1\n"


def test_fields_that_nobody_knows_are_ignored(runtime, bundle):
    # runtime-spec, "Extensibility": unknown properties MUST be ignored.
    bundle.config["x-unknown"] = {"a": 1}
    bundle.config["process"]["unknown"] = [1]

    assert runtime.run(bundle, "true").code == 0


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.1.0+dev", "1.2.1", "1.3.0"])
def test_the_versions_engines_send_are_taken(runtime, bundle, version):
    bundle.config["ociVersion"] = version

    assert runtime.run(bundle, "true").code == 0


@pytest.mark.parametrize("version", ["9.0.0", "1.x", "", "1.0.2-"])
def test_what_is_no_version_or_of_another_major_is_refused(runtime, bundle, version):
    bundle.config["ociVersion"] = version
    bundle.save()
    result = runtime("create", "--bundle", bundle.path, bundle.id)
    runtime.made.append(bundle.id)
    known_of_runc(runtime, "it does not look at the version", seen=result.code == 0)

    assert result.code == 1


@pytest.mark.parametrize(
    "words", [["create"], ["create", "a", "b"], ["state"], ["kill"], ["start"]]
)
def test_a_wrong_number_of_arguments_is_refused(runtime, words):
    assert runtime(*words).code != 0


def test_a_broken_state_of_one_container_does_not_hide_the_others(runtime, new_bundle, state_root):
    good, bad = runtime.started(new_bundle()), new_bundle()
    runtime.create(bad)
    directory = f"{state_root}/{bad.id}"
    saved = {}
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        if os.path.isfile(path):
            with open(path, "rb") as old:
                saved[path] = old.read()
            with open(path, "w") as out:
                out.write("garbage")
    listed = runtime("list", "-q").out
    for path, content in saved.items():
        with open(path, "wb") as out:
            out.write(content)

    assert good.id in listed
    assert json.loads(runtime("state", good.id).out)["status"] == "running"


def test_a_container_without_a_process_is_refused(runtime, bundle):
    # runtime.md lets `start` refuse it; then it is too late to name the line.
    del bundle.config["process"]

    assert "process" in refused(runtime, bundle)


def test_an_annotation_without_a_name_is_refused(runtime, bundle):
    bundle.config["annotations"] = {"": "x"}
    bundle.save()
    result = runtime("create", "--bundle", bundle.path, bundle.id)
    runtime.made.append(bundle.id)
    known_of_runc(runtime, "it does not look at annotations", seen=result.code == 0)

    assert result.code == 1
    assert "annotations" in result.err


def test_unknown_annotations_are_taken(runtime, bundle):
    bundle.config["annotations"] = {"org.opencontainers.image.new": "", "a.b/c": "d"}

    assert runtime.create(bundle).state()["annotations"] == bundle.config["annotations"]
