from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from aisbx_runtime.oci.seccomp import apart, cache, compiler
from tests.oci.seccomp.profiles import base_profile, profile, rule

PLAIN = profile(rule("getppid", errno_ret=7))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(compiler.__file__.rpartition("/")[0])))
FOREIGN = 65533  # not even nobody


@pytest.fixture
def cache_dir(tmp_path):
    return str(tmp_path / "state" / ".cache")


@pytest.fixture
def compiled(monkeypatch):
    """Return the list of the profiles that were compiled."""
    profiles = []
    compile_apart = apart.compiled

    def counting(seccomp):
        profiles.append(seccomp)
        return compile_apart(seccomp)

    monkeypatch.setattr(apart, "compiled", counting)
    return profiles


def program(cache_dir, seccomp=None, machine="x86_64"):
    return cache.program(seccomp or base_profile(), cache_dir=cache_dir, machine=machine)


def entry_path(cache_dir, seccomp=None):
    return f"{cache_dir}/{cache.key_of(seccomp or base_profile(), 'x86_64')}"


# ---- hit and miss


def test_the_second_call_is_a_hit_and_returns_the_same_program(cache_dir, compiled):
    first = program(cache_dir)
    second = program(cache_dir)

    assert (first, [base_profile()]) == (second, compiled)


def test_an_entry_is_private_to_its_owner(cache_dir):
    program(cache_dir)

    modes = [os.stat(path).st_mode & 0o777 for path in (cache_dir, entry_path(cache_dir))]
    assert modes == [0o700, 0o600]


def test_nothing_but_the_entry_is_left_in_the_directory(cache_dir):
    program(cache_dir)

    assert os.listdir(cache_dir) == [os.path.basename(entry_path(cache_dir))]


HIT = """
import sys
sys.path.insert(0, sys.argv[1])
import os
from aisbx_runtime.oci.seccomp import cache
from aisbx_runtime.oci.spec.model import Seccomp, SyscallArg, SyscallRule
seccomp = eval(sys.argv[3])
os.getsid(0)
cache.program(seccomp, cache_dir=sys.argv[2], machine="x86_64")
os.getsid(0)
print(*sorted(sys.modules))
"""


def hit_command(cache_dir):
    return [sys.executable, "-IS", "-c", HIT, ROOT, cache_dir, repr(base_profile())]


def test_a_hit_loads_no_compiler(cache_dir):
    program(cache_dir)

    done = subprocess.run(
        hit_command(cache_dir), check=True, capture_output=True, text=True, env={}, timeout=60
    )
    unwanted = {"ctypes", "_ctypes", "hashlib", "seccomp", "pyseccomp", "json", "re", "enum"}
    unwanted |= {"aisbx_runtime.oci.seccomp.compiler", "aisbx_runtime.oci.errors", "contextlib"}
    assert unwanted & set(done.stdout.split()) == set()


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_a_hit_makes_six_system_calls(cache_dir):
    program(cache_dir)

    done = subprocess.run(
        ["strace", "-o", "/dev/stderr", *hit_command(cache_dir)],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    calls = [line.partition("(")[0] for line in done.stderr.splitlines()]
    first = calls.index("getsid") + 1
    hit = calls[first : calls.index("getsid", first)]
    # brk and friends are the interpreter's memory, not ours.
    ours = [call for call in hit if call not in ("brk", "mmap", "munmap", "mremap")]
    assert ours in (
        ["openat", "fstat", "geteuid", "read", "close", "stat"],
        ["openat", "newfstatat", "geteuid", "read", "newfstatat", "close"],
        ["openat", "fstat", "geteuid", "read", "stat", "close"],
        ["openat", "fstat", "geteuid", "read", "newfstatat", "close"],
    )


# ---- entries that are not taken


def truncate(path):
    os.truncate(path, os.path.getsize(path) - 8)


def empty(path):
    os.truncate(path, 0)


def flip_a_bit_of_the_program(path):
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read()[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def flip_a_bit_of_the_library(path):
    with open(path, "rb") as file:
        lines = file.read().split(b"\n", 3)
    lines[2] = b"9" + lines[2]
    with open(path, "wb") as file:
        file.write(b"\n".join(lines))


def fill_with_noise(path):
    with open(path, "wb") as file:
        file.write(bytes(range(256)) * 8)


def make_too_large(path):
    with open(path, "ab") as file:
        file.write(bytes(cache.MAX_ENTRY_BYTES))


def replace_by_a_symlink(path):
    os.rename(path, f"{path}-target")
    os.symlink(f"{path}-target", path)


def replace_by_a_fifo(path):
    os.unlink(path)
    os.mkfifo(path, 0o600)


def replace_by_another_profile(path):
    cache.program(PLAIN, cache_dir=os.path.dirname(path), machine="x86_64")
    os.rename(entry_path(os.path.dirname(path), PLAIN), path)


def let_others_write(path):
    os.chmod(path, 0o620)


def give_away(path):
    try:
        os.chown(path, FOREIGN, FOREIGN)
    except PermissionError:
        pytest.skip("needs CAP_CHOWN")


@pytest.mark.parametrize(
    "damage",
    [
        truncate, empty, flip_a_bit_of_the_program, flip_a_bit_of_the_library, fill_with_noise,
        make_too_large, replace_by_a_symlink, replace_by_a_fifo, replace_by_another_profile,
        let_others_write, give_away,
    ],
)  # fmt: skip
def test_a_bad_entry_is_a_miss_and_is_replaced(cache_dir, compiled, damage):
    good = program(cache_dir)
    damage(entry_path(cache_dir))
    compiled.clear()
    after = [program(cache_dir), program(cache_dir)]

    assert ([good, good], [base_profile()]) == (after, compiled)


def signed_entry(key, body, library):
    signed = b"\n".join([key.encode(), library, body])
    return cache._digest(signed).encode() + b"\n" + signed


@pytest.mark.parametrize(
    "body",
    [b"", b"1234567", bytes(8 * (cache.MAX_INSTRUCTIONS + 1))],
    ids=["empty", "half an instruction", "too long"],
)
def test_a_well_signed_entry_that_is_no_program_is_a_miss(cache_dir, body):
    good = program(cache_dir)
    library = cache._library_now(compiler.library_path())
    with open(entry_path(cache_dir), "wb") as file:
        file.write(signed_entry(os.path.basename(entry_path(cache_dir)), body, library))

    assert program(cache_dir) == good


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_another_libseccomp_is_a_miss(cache_dir, compiled, monkeypatch, tmp_path, change):
    library = tmp_path / "libseccomp.so.2.5.4"
    library.write_text("old")
    monkeypatch.setattr(compiler, "library_path", lambda: str(library))
    program(cache_dir)
    program(cache_dir)
    if change == "removed":
        library.unlink()
    else:
        (tmp_path / "new").write_text("new")
        os.rename(tmp_path / "new", library)
    program(cache_dir)

    assert len(compiled) == 2


def test_a_directory_in_place_of_an_entry_does_no_harm(cache_dir):
    good = program(cache_dir)
    os.unlink(entry_path(cache_dir))
    os.mkdir(entry_path(cache_dir))

    assert (good, 1) == (program(cache_dir), len(os.listdir(cache_dir)))


# ---- directories that cannot be used


def test_a_file_in_place_of_the_directory_does_no_harm(tmp_path):
    (tmp_path / "file").write_text("")

    assert program(str(tmp_path / "file")) == compiler.program_of(base_profile())


def test_a_directory_that_cannot_be_made_does_no_harm():
    assert program("/proc/self/nothing/here") == compiler.program_of(base_profile())


def test_a_symlinked_directory_is_not_written_to(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "cache").symlink_to("elsewhere")
    program(str(tmp_path / "cache"))

    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_foreign_directory_is_not_written_to(tmp_path):
    foreign = tmp_path / "cache"
    foreign.mkdir(mode=0o700)
    give_away(foreign)
    program(str(foreign))

    assert os.listdir(foreign) == []


def test_a_directory_that_others_may_write_is_not_written_to(tmp_path):
    shared = tmp_path / "cache"
    shared.mkdir()
    shared.chmod(0o777)
    program(str(shared))

    assert os.listdir(shared) == []


def test_a_profile_that_cannot_be_compiled_leaves_nothing(cache_dir):
    refused = profile(rule("getppid", errno_ret=4095))
    with pytest.raises(Exception, match="4095"):
        program(cache_dir, refused)

    assert not os.path.exists(cache_dir)


# ---- more than one


def test_writers_at_the_same_time_leave_one_good_entry(cache_dir):
    children = []
    for _ in range(4):
        pid = os.fork()
        if not pid:
            try:
                program(cache_dir)
            finally:
                os._exit(0)
        children.append(pid)
    statuses = {os.waitpid(pid, 0)[1] for pid in children}

    good = cache._read(entry_path(cache_dir), os.path.basename(entry_path(cache_dir)))
    assert (
        {0},
        [os.path.basename(entry_path(cache_dir))],
        compiler.program_of(base_profile()),
    ) == (
        statuses,
        os.listdir(cache_dir),
        good,
    )


def test_the_oldest_entries_go_first(cache_dir, monkeypatch):
    monkeypatch.setattr(cache, "MAX_ENTRIES", 2)
    profiles = [profile(rule("getppid", errno_ret=number)) for number in range(1, 5)]
    for age, each in enumerate(profiles[:3]):
        program(cache_dir, each)
        if os.path.exists(entry_path(cache_dir, each)):
            os.utime(entry_path(cache_dir, each), (age, age))
    program(cache_dir, profiles[3])

    kept = [os.path.exists(entry_path(cache_dir, each)) for each in profiles]
    assert kept == [False, False, True, True]


def test_a_relative_directory_is_used_too(tmp_path, monkeypatch, compiled):
    monkeypatch.chdir(tmp_path)
    program("cache")
    program("cache")

    assert len(compiled) == 1
