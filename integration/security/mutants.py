"""Break one defence at a time in a copy of the runtime: the tests named must then fail.

    .venv/bin/python integration/security/mutants.py [WORD]   # only those whose name has WORD

Not part of the suite: it takes minutes. README.md tells what it showed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OCI = "aisbx_runtime/oci"
IN_ROOT = "    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS\n"
BY_PATH = """\
    import posix
    try:
        return posix.open(f"/proc/self/fd/{root_fd}/{path}", flags | posix.O_CLOEXEC, mode)
    except OSError as error:
        raise kernel_error(error.errno or 0, "open", path) from None
"""

# name, file, text, what replaces it, tests that must fail (pytest -k)
MUTANTS = (
    ("open_in_root joins strings", "kernel/path.py", IN_ROOT, BY_PATH + IN_ROOT,
     "test_races.py", "target_is_never or mount_whose"),
    ("planted links are followed", "kernel/path.py", IN_ROOT, BY_PATH + IN_ROOT,
     "test_planted.py", "planted and directory"),
    ("/dev is opened through symlinks", "plan/devices.py",
     "    flags = os.O_PATH | os.O_DIRECTORY\n    try:",
     ("    import posix\n    return posix.open(f'/proc/self/fd/{root_fd}/{path}', posix.O_RDONLY)\n"
     "    flags = os.O_PATH | os.O_DIRECTORY\n    try:"),
     "test_dev.py", "dev_as_a_symlink"),
    ("an existing device is believed", "plan/devices.py",
     "            _accept_existing(name, parent_fd, kind, number, one.path)",
     "            os.chown(name, 1, 1, dir_fd=parent_fd)",
     "test_dev.py", "entry_of_dev"),
    ("masks come from the container's /dev/null", "plan/paths.py",
     '        tree_fd = mount.open_tree(at.masks[kind], "", OPEN_TREE_CLONE | AT_EMPTY_PATH)',
     '        tree_fd = mount.open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE)',
     "test_dev.py", "planted_null"),
    ("sysctls go through the container's procfs", "plan/names.py",
     "        fd = openat2(at.proc_fd, path, os.O_WRONLY, resolve=resolve)",
     "        fd = os.open('/proc/' + path, os.O_WRONLY)",
     "test_proc_sys.py", "sysctl_reaches"),
    ("anything may cover /proc", "plan/mounts.py",
     "    if is_proc or target in PROC_FILES:", "    if True or target in PROC_FILES:",
     "test_proc_sys.py", "volume_in_proc"),
    ("/proc may be a symlink", "plan/mounts.py",
     '    if fs_type not in {"proc", "sysfs"}:', "    if True:",
     "test_proc_sys.py", "symlink_is_refused"),
    ("/sys is read-only at the top only", "plan/mounts.py",
     '            options = resolve((*one.options, "rro"))', "            pass",
     "test_cgroups.py", "through_sys"),
    ("the child is dumpable", "init.py", "        prctl(PR_SET_DUMPABLE, 0)\n", "",
     "test_exec_hostile.py", "exec_cannot_be_looked or create_in_its"),
    ("exec is born inside", "plan/seccomp.py",
     "    profile = spec.linux.seccomp\n    if profile is None:\n        return True\n",
     "    return False\n", "test_exec_hostile.py", "by_a_tracer"),
    ("the stub is a file of the host", "lifecycle/attempt.py",
     '    fd = os.memfd_create("aisbx-stub"',
     ("    import posix\n"
     f"    return posix.open('{{copy}}/{OCI}/stub/stub', posix.O_RDONLY | posix.O_CLOEXEC)\n"
     '    fd = os.memfd_create("aisbx-stub"'),
     "test_exec_hostile.py", "sealed"),
    ("the working directory is not checked", "plan/process.py",
     "        if not current_directory_is_reachable():", "        if False:",
     "test_descriptors.py", "working_directory_of_exec"),
    ("the session is kept", "init.py", "        os.setsid()", "        pass",
     "test_rights.py", "types_nothing"),
    ("the keyring is kept", "plan/process.py",
     "            keyring.join_session_keyring(self.name)", "            pass",
     "test_rights.py", "keys_of_the_caller"),
    ("exec --cap makes inheritable", "lifecycle/exec_process.py",
     "        inheritable=old.inheritable,", "        inheritable=(*old.inheritable, *names),",
     "test_rights.py", "capability_for_one_exec"),
    ("user words are read by int()", "lifecycle/exec_process.py",
     "    if not plain or int(text) >= _ID_LIMIT:", "    if False:",
     "test_rights.py", "read_whole"),
    ("hooks have the environment of the process", "hooks.py",
     "        os.execve(hook.path", ("        env['LD_PRELOAD'] = '/proc/self/cwd/evil.so'\n"
     "        os.execve(hook.path"),
     "test_rights.py", "loads_nothing"),
    ("init imports", "init.py", ("    sys.meta_path.clear()\n    sys.path.clear()\n"
     "    sys.path_hooks.clear()\n"), "",
     "test_traps.py", "no_verb"),
)  # fmt: skip
# With the import system intact an import after pivot_root must fall into a trap.
ALSO = {
    "init imports": (
        "init.py",
        "        channel.ready()\n",
        "        channel.ready()\n        import colorsys\n",
    ),
    # Two defences, each enough by itself.
    "the working directory is not checked": (
        "lifecycle/attempt.py",
        "    for fd in leaked:",
        "    for fd in ():",
    ),
}


def copied(place: str) -> str:
    """Copy the runtime; its own bytecode is left behind, so that the sources count."""
    copy = f"{place}/copy"
    os.makedirs(f"{copy}/bin")
    shutil.copytree(
        f"{ROOT}/aisbx_runtime",
        f"{copy}/aisbx_runtime",
        ignore=shutil.ignore_patterns("__pycache__", "bytecode.bin"),
    )
    with open(f"{ROOT}/bin/aisbx-runtime") as text:
        launcher = text.read().replace(ROOT, copy)
    with open(f"{copy}/bin/aisbx-runtime", "w") as out:
        out.write(launcher)
    os.chmod(f"{copy}/bin/aisbx-runtime", 0o755)
    return copy


def replaced(path: str, old: str, new: str) -> None:
    with open(path) as text:
        source = text.read()
    if old not in source:
        raise SystemExit(f"{path}: the text to break is gone: {old!r}")
    with open(path, "w") as out:
        out.write(source.replace(old, new, 1))


def verdict(name: str, file: str, old: str, new: str, tests: str, words: str) -> str:
    with tempfile.TemporaryDirectory(prefix="aisbx-mutant-") as place:
        os.chmod(place, 0o755)
        copy = copied(place)
        replaced(f"{copy}/{OCI}/{file}", old, new.replace("{copy}", copy))
        if ALSO.get(name):
            other, *texts = ALSO[name]
            replaced(f"{copy}/{OCI}/{other}", *texts)
        argv = [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-m", "root", "-q",
                "-x", "--tb=line", f"{HERE}/{tests}", "-k", words]  # fmt: skip
        env = {**os.environ, "AISBX_TEST_RUNTIME": f"{copy}/bin/aisbx-runtime"}
        with open(f"{place}/log", "w+") as log:
            done = subprocess.run(
                ["timeout", "-s", "KILL", "60", *argv],
                cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
            )  # fmt: skip
            log.seek(0)
            failed = [line.strip() for line in log if line.startswith("FAILED")]
    caught = done.returncode == 1 and failed
    return f"caught: {failed[0].split('::')[1][:90]}" if caught else f"MISSED ({done.returncode})"


def main() -> int:
    words = sys.argv[1:]
    missed = 0
    for mutant in MUTANTS:
        if words and not any(word in mutant[0] for word in words):
            continue
        said = verdict(*mutant)
        missed += said.startswith("MISSED")
        print(f"{mutant[0]:48} {said}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
