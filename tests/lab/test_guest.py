"""What a guest is told: the texts that host and guest share."""

from __future__ import annotations

import os
import subprocess

import pytest

from integration.lab import cache, guest, kernel, machine, root, stages, terminal


def described(**fields):
    given = {
        "kernel": "/k",
        "root": "/",
        "systemd": False,
        "checkout": "/src",
        "directory": "/src/a b",
    }
    return guest.Guest(**{**given, **fields})


def test_the_settings_are_what_the_shell_reads_back(tmp_path):
    values = {"ONE": "a b", "TWO": "it's $HOME `x`", "THREE": ""}
    (tmp_path / "settings").write_text(guest.assignments(values))
    script = f'. {tmp_path}/settings; printf "%s\\0" "$ONE" "$TWO" "$THREE"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)

    assert ["a b", "it's $HOME `x`", "", ""] == done.stdout.split("\0")


def test_the_command_runs_in_its_directory_with_its_environment(tmp_path):
    made = described(directory=str(tmp_path), environment={"NAME": "two words"})
    text = guest.command_text(made, ["sh", "-c", 'echo "$PWD $NAME $1"', "sh", "a  b"])
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)

    assert f"{tmp_path} two words a  b\n" == done.stdout


def test_a_directory_that_is_not_there_is_no_success(tmp_path):
    text = guest.command_text(described(directory=f"{tmp_path}/none"), ["true"])
    done = subprocess.run(["sh", "-c", text], capture_output=True, check=False)

    assert guest.NO_GUEST == done.returncode


def test_the_runtime_is_built_before_the_command_only_when_asked_for():
    assert "build" not in guest.command_text(described(), ["true"])
    assert "make -s -C /src build" in guest.command_text(described(build=True), ["true"])


def test_the_kernel_takes_this_hosts_root_and_the_lines_script():
    words = guest.kernel_words(described(memory_mb=100), "/run-1", "null,fd:5")

    assert {"mem=100M", "init=/run-1/init", "rootfstype=hostfs", "ro", "ssl0=null,fd:5"} <= {*words}


def test_the_interpreter_is_replaced_in_its_own_length():
    old = b"\x7fELF" + kernel.INTERPRETER + b"rest"
    new = kernel.with_interpreter(old)

    assert len(old) == len(new)
    assert b"\x7fELFlib/ld-linux-x86-64.so.2\0" in new
    assert new.endswith(b"rest")


def test_a_program_without_the_interpreter_is_refused():
    with pytest.raises(SystemExit, match="another ELF interpreter"):
        kernel.with_interpreter(b"\x7fELF")


def test_packages_are_words_outside_of_comments():
    assert ["a", "b", "c"] == root.packages("# none\na b # not this\n\nc\n")


def test_the_guests_packages_are_named_once():
    names = root.packages(root.text_of(root.PACKAGES))

    assert sorted(set(names)) == sorted(names)


def test_another_recipe_has_another_name():
    assert cache.key("a", "b") == cache.key("a", "b")
    assert cache.key("a", "b") != cache.key("ab", "")


def test_a_name_alone_takes_the_callers_value(monkeypatch):
    monkeypatch.setenv("TAKEN", "mine")
    values = machine.environment(["TAKEN", "GIVEN=a=b", "EMPTY="])

    assert ("mine", "a=b", "") == (values["TAKEN"], values["GIVEN"], values["EMPTY"])


def test_what_is_built_is_built_once_and_kept_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "TOP", f"{tmp_path}/lab")
    built = []

    def build(directory):
        built.append(directory)
        os.mkdir(f"{directory}/part")

    for _ in range(2):
        with cache.used("thing", build) as path:
            assert ["part"] == os.listdir(path)

    assert 1 == len(built)


def test_a_build_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "TOP", f"{tmp_path}/lab")

    def build(directory):
        os.mkdir(f"{directory}/part")
        raise SystemExit("no mirror")

    with pytest.raises(SystemExit), cache.used("thing", build):
        pass

    assert ["thing.lock"] == os.listdir(cache.TOP)


def test_what_is_in_use_is_not_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "TOP", f"{tmp_path}/lab")
    with cache.used("thing", lambda _: None) as path:
        assert [] == cache.prune(-1)
        assert os.path.isdir(path)

    assert ["thing"] == cache.prune(-1)
    assert not os.path.exists(path)


def test_what_was_used_lately_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "TOP", f"{tmp_path}/lab")
    with cache.used("thing", lambda _: None):
        pass

    assert [] == cache.prune(60)


def test_a_directory_that_others_may_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "TOP", str(tmp_path))
    tmp_path.chmod(0o777)

    with pytest.raises(SystemExit, match="written by others"):
        cache.top()


def test_the_output_comes_through_with_its_end_kept(capfdbinary):
    with terminal.Pipe() as line:
        os.write(line.guest_fd, b"x" * 5000 + b"end")
        line.give_away()
        line.drain()

    assert b"end" == line.last[-3:]
    assert 4096 == len(line.last)
    assert 5003 == len(capfdbinary.readouterr().out)


def names_of(*, names=(), of_guest="", brief=False):
    return [stage.name for stage in stages.chosen([*names], of_guest, [], brief=brief)]


def test_words_of_ones_own_make_a_stage_of_each_new_guest():
    found = stages.chosen([], "", ["tests/x.py", "-k", "y"], brief=False)

    assert [(name, ("tests/x.py", "-k", "y")) for name in ("host", "systemd")] == [
        (stage.guest, stage.tests) for stage in found
    ]


def test_a_guest_or_a_name_narrows_the_stages():
    assert names_of(of_guest="systemd") == [
        "systemd", "cgroups-systemd", "cgroups-v2-systemd", "engines-systemd", "docker",
    ]  # fmt: skip
    assert ["cgroups"] == names_of(names=["cgroups"])


def test_what_the_brief_run_leaves_out_the_full_one_runs():
    brief, full = names_of(brief=True), names_of()

    assert ("cgroups" in brief, "lifecycle" in brief) == (True, False)
    assert ("cgroups" in full, "lifecycle" in full) == (False, True)
    assert set(brief) | set(full) == set(stages.NAMES)


def test_every_stage_has_tests_that_are_there():
    paths = [path for stage in stages.STAGES for path in (*stage.tests, *stage.without)]

    assert all(os.path.exists(f"{machine.CHECKOUT}/{path}") for path in paths)


@pytest.mark.parametrize(
    ("output", "summary"),
    [
        ("==== 957 passed, 29 skipped in 630.04s (0:10:30) ====\n", "957 passed, 29 skipped"),
        ("5 failed, 957 passed in 6.04s\n", "5 failed, 957 passed"),
        ("nothing", ""),
    ],
)
def test_the_summary_is_what_pytest_says_last(output, summary):
    assert summary == stages.summary_of(output)


def test_the_table_tells_every_result_apart():
    codes = {0: "passed", 1: "FAILED", 124: "TOO LONG", 125: "NO GUEST", stages.NOT_HERE: "NOT RUN"}
    results = [
        stages.Result(stage=stages.STAGES[0], where="here", code=code, seconds=1.4, summary="s")
        for code in codes
    ]
    lines = stages.table(results).splitlines()[3:]

    assert [f"lab    here   {word.ljust(8)}  1 s   s" for word in codes.values()] == lines


def test_a_guest_that_cannot_be_here_is_told_and_is_no_failure(monkeypatch, capsys):
    monkeypatch.setattr(machine, "lacks", lambda _: "no kernel for this architecture")
    stage = stages.Stage(name="one", guest="host", tests=(), timeout_s=1)

    assert 0 == stages.run([stage], "", stages.Kernel(), in_guest=True)
    assert "NOT RUN  0 s   no kernel for this architecture" in capsys.readouterr().out
