"""File descriptors: what the container gets, and what it must never get."""

from __future__ import annotations

import os

import pytest

from integration import needs
from integration.differences import known_of_runc
from integration.runtime import call

# `ls` itself has the directory open: the highest number, dropped below.
LIST_FDS = "ls -l /proc/self/fd"


def numbers(result):
    """Return the descriptor numbers of a listing, without that of ls itself."""
    pairs = [line.split(" -> ") for line in result.lines if " -> " in line]
    return [int(left.split()[-1]) for left, target in pairs if not target.startswith("/proc/")]


def shell(redirections, argv):
    """Call argv with descriptors arranged by a shell."""
    return call(["sh", "-c", f'exec {redirections}; exec "$@"', "sh", *argv])


@pytest.fixture
def open_fd():
    """Open a file at a given descriptor number, inheritable."""
    made = []

    def opened(number, text=b""):
        read_fd, write_fd = os.pipe()
        os.write(write_fd, text)
        os.close(write_fd)
        os.dup2(read_fd, number)
        os.close(read_fd)
        made.append(number)
        return number

    yield opened
    for number in made:
        os.close(number)


def test_a_container_gets_three_descriptors(runtime, bundle):
    assert numbers(runtime.run(bundle, LIST_FDS)) == [0, 1, 2]


def test_an_exec_gets_three_descriptors(runtime, bundle):
    container = runtime.started(bundle)

    assert numbers(container.exec("ls", "-l", "/proc/self/fd")) == [0, 1, 2]


def test_init_of_a_created_container_holds_nothing_of_the_caller(runtime, bundle, open_fd):
    container = runtime.create(bundle, pass_fds=(open_fd(203),))

    assert "203" not in os.listdir(f"/proc/{container.pid}/fd")


def test_descriptors_leaked_by_the_caller_are_closed(runtime, bundle, open_fd):
    leaked = tuple(open_fd(number) for number in (203, 209, 251))

    assert numbers(runtime.run(bundle, LIST_FDS, pass_fds=leaked)) == [0, 1, 2]


def test_a_low_leaked_descriptor_is_closed(runtime, bundle, tmp_path):
    (tmp_path / "a").write_text("")
    bundle.script(LIST_FDS).save()
    runtime.made.append(bundle.id)
    argv = runtime.argv("run", "--bundle", bundle.path, bundle.id)

    assert numbers(shell(f"3<{tmp_path}/a 4<{tmp_path}/a 6<{tmp_path}/a", argv)) == [0, 1, 2]


def test_descriptors_leaked_by_the_caller_are_closed_in_exec(runtime, bundle, open_fd):
    container = runtime.started(bundle)
    result = container.exec("ls", "-l", "/proc/self/fd", pass_fds=(open_fd(203),))

    assert numbers(result) == [0, 1, 2]


def test_preserved_descriptors_are_passed(runtime, bundle, tmp_path):
    (tmp_path / "a").write_text("text of a")
    bundle.script("cat <&3").save()
    runtime.made.append(bundle.id)
    argv = runtime.argv("run", "--bundle", bundle.path, "--preserve-fds", "1", bundle.id)

    assert shell(f"3<{tmp_path}/a", argv).out == "text of a"


def test_descriptors_above_the_preserved_ones_are_closed(runtime, bundle, tmp_path):
    (tmp_path / "a").write_text("text of a")
    bundle.script("cat <&4").save()
    runtime.made.append(bundle.id)
    argv = runtime.argv("run", "--bundle", bundle.path, "--preserve-fds", "1", bundle.id)

    assert shell(f"3<{tmp_path}/a 4<{tmp_path}/a", argv).code != 0


def test_closed_descriptors_between_preserved_ones_are_no_failure(runtime, bundle, tmp_path):
    # podman 5 --preserve-fd 5 -> --preserve-fds 3 with 3 and 4 closed.
    (tmp_path / "a").write_text("text of a")
    bundle.script("cat <&5").save()
    runtime.made.append(bundle.id)
    argv = runtime.argv("run", "--bundle", bundle.path, "--preserve-fds", "3", bundle.id)

    assert shell(f"3<&- 4<&- 5<{tmp_path}/a", argv).out == "text of a"


def test_descriptors_of_the_runtime_do_not_fill_the_gaps(runtime, bundle, tmp_path):
    # runc 1.3.6 leaked its log and an epoll descriptor that way.
    (tmp_path / "a").write_text("")
    bundle.script(LIST_FDS).save()
    runtime.made.append(bundle.id)
    words = ["--log", f"{tmp_path}/log", "run", "--bundle", bundle.path, "--preserve-fds", "3"]
    done = shell(f"3<&- 4<&- 5<{tmp_path}/a", runtime.argv(*words, bundle.id))
    gaps = set(numbers(done)) & {3, 4}
    known_of_runc(runtime, "its own descriptors fill the gaps", seen=bool(gaps))

    assert gaps == set()


def test_exec_preserves_descriptors(runtime, bundle, tmp_path):
    (tmp_path / "a").write_text("text of a")
    container = runtime.started(bundle)
    argv = runtime.argv("exec", "--preserve-fds", "1", bundle.id, "/bin/sh", "-c", "cat <&3")

    assert container.status == "running"
    assert shell(f"3<{tmp_path}/a", argv).out == "text of a"


def test_listen_fds_are_passed_first(runtime, bundle, tmp_path):
    (tmp_path / "a").write_text("text of a")
    bundle.script("cat <&3; echo; echo $LISTEN_FDS $LISTEN_PID").save()
    runtime.made.append(bundle.id)
    argv = runtime.argv("run", "--bundle", bundle.path, bundle.id)
    set_up = f"3<{tmp_path}/a; export LISTEN_FDS=1 LISTEN_PID=$$; exec 4<&-"

    assert shell(set_up, argv).out == "text of a\n1 1\n"


def test_output_to_a_full_device_does_not_hang(runtime, bundle):
    with open("/dev/full", "w") as full:
        assert runtime.run(bundle, "exit 3", stdout=full, stderr=full).code == 3


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_create_works_with_closed_standard_descriptors(runtime, bundle, closed):
    bundle.script("exec sleep 1000").save()
    runtime.made.append(bundle.id)
    done = shell(closed, runtime.argv("create", "--bundle", bundle.path, bundle.id))

    assert done.code == 0
    assert shell(closed, runtime.argv("start", bundle.id)).code == 0
    assert shell(closed, runtime.argv("delete", "--force", bundle.id)).code == 0


NULL_IO = "0</dev/null 1</dev/null 2</dev/null"  # ctr run --null-io: read-only


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["state", "ID"], None),
        (["start", "ID"], 0),
        (["kill", "nosuch"], 1),
        (["delete", "--force", "nosuch"], 0),
        (["delete", "nosuch"], 1),
    ],
)
def test_the_exit_code_stands_when_outputs_are_not_writable(runtime, bundle, words, code):
    # CPython would exit 120 here.
    runtime.create(bundle.script("true"))
    argv = runtime.argv(*(bundle.id if word == "ID" else word for word in words))
    done = shell(NULL_IO, argv)

    assert done.code in ({0, 1} if code is None else {code})


def test_create_works_when_outputs_are_not_writable(runtime, bundle):
    bundle.script("exec sleep 1000").save()
    runtime.made.append(bundle.id)

    assert shell(NULL_IO, runtime.argv("create", "--bundle", bundle.path, bundle.id)).code == 0


def test_state_survives_a_closed_reader(runtime, bundle):
    # podman <= 5.2 closes the read end of state's stderr at once.
    container = runtime.create(bundle)
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    result = container.verb("state", stderr=write_fd)
    os.close(write_fd)

    assert result.code == 0


@needs.ids
def test_stdio_belongs_to_the_user_of_the_process(runtime, bundle):
    # runc chowns the pipes so that the program can re-open /dev/stdout.
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    read_fd, write_fd = os.pipe()
    result = runtime.run(bundle, "echo hi >/proc/self/fd/1", stdout=write_fd)
    os.close(write_fd)
    text = os.read(read_fd, 100)
    os.close(read_fd)

    assert (result.code, text) == (0, b"hi\n")
