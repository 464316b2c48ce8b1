"""Run OCI's validation programs and runc's bats suite with two runtimes, side by side (root).

    python3 -m integration.conformance.run [--only bats] [--match REGEX] [--report DIRECTORY]

Each test has a session, a terminal and a bound of its own, and whatever lives on afterwards is
killed by its pid and its containers and cgroups removed. Fetching and building is `fetch`'s.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import glob
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time

from integration import host
from integration.conformance import fetch, report

HERE = os.path.dirname(os.path.abspath(__file__))
CHECKOUT = os.path.dirname(os.path.dirname(HERE))
BATS_S, VALIDATION_S = 60, 90  # of one test; the longest takes 20
# Where the tests put their cgroups: the names that the two suites have built in.
CGROUPS = ("runc-cgroups-integration-test", "cgrouptest", "testdir")
STATE = ("/run/aisbx", "/run/runc")
TEMPORARY = f"/tmp/aisbx-conformance-{os.getpid()}"
REPORT_CHARACTERS = 6000
POINT = re.compile(r"^(not )?ok \d+ ?-? ?(.*)$")
NAME = re.compile(r'^@test "(.*)" \{', re.MULTILINE)


def run_bounded(command: list[str], seconds: int, **more: object) -> tuple[str, int]:
    """Return (output, exit status) of a command in a session with a terminal; -1 if it hung."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # runc takes /dev/tty for a container with a terminal: the session needs one.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (no threads)
        **more,
    )
    os.close(theirs)
    output, end = b"", time.monotonic() + seconds
    hung = True
    while (left := end - time.monotonic()) > 0:
        ready, _, _ = select.select([done.stdout, ours], [], [], min(left, 0.1))
        reap_orphans(done.pid)
        if ours in ready:
            with contextlib.suppress(OSError):
                os.read(ours, 65536)
        if done.stdout in ready:
            piece = os.read(done.stdout.fileno(), 65536)
            output += piece
            if not piece:
                hung = False
                break
        elif done.poll() is not None:  # somebody who lives on holds the pipe
            hung = False
            break
    if not hung:
        with contextlib.suppress(subprocess.TimeoutExpired):
            done.wait(5)  # before it is reaped with all others
    kill_descendants()
    status = done.wait()
    done.stdout.close()
    os.close(ours)
    return output.decode(errors="replace"), -1 if hung else status


def parents() -> dict[int, int]:
    found = {}
    for word in os.listdir("/proc"):
        if word.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{word}/stat") as text:
                found[int(word)] = int(text.read().rsplit(")", 1)[1].split()[1])
    return found


def reap_orphans(spared: int) -> None:
    """Reap what this process has adopted and what has ended, as init of the machine would."""
    for pid in adopted():
        if pid != spared:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def adopted() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as text:
        return [int(word) for word in text.read().split()]


def kill_descendants() -> None:
    """Kill and reap everything below this process, which adopts its orphans."""
    for _ in range(50):
        table, below, more = parents(), set(), {os.getpid()}
        while more:
            more = {pid for pid, parent in table.items() if parent in more} - below
            below |= more
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                fd = os.pidfd_open(pid)
                if parents().get(pid) == table[pid]:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not below:
            return
        time.sleep(0.05)


def clean(runtime: str, roots: list[str]) -> None:
    """Remove what containers of a test are left, then the cgroups by their known names."""
    names: list[str] = []
    for root in roots:
        with contextlib.suppress(FileNotFoundError):
            names += os.listdir(root or STATE[os.path.basename(runtime) == "runc"])
        where = ["--root", root] if root else []
        with contextlib.suppress(subprocess.TimeoutExpired):
            command = [runtime, *where, "list", "-q"]
            listed = subprocess.run(
                command, capture_output=True, timeout=20, text=True, check=False
            )
            for name in listed.stdout.split():
                command = [runtime, *where, "delete", "--force", name]
                subprocess.run(command, capture_output=True, timeout=20, check=False)
    for top in CGROUPS:
        thaw(f"{host.hierarchies().get('freezer', '')}/{top}")
    kill_descendants()
    for root in filter(None, roots):
        shutil.rmtree(root, ignore_errors=True)
    # Without cgroupsPath it has the container's id; its limits would bind the next of that id.
    for name in set(names) - {".cache"}:
        host.remove_cgroups(name)


def thaw(top: str) -> None:
    """Let go what a test has left frozen: SIGKILL does not reach it."""
    for path, _, _ in os.walk(top):
        for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            with contextlib.suppress(OSError), open(f"{path}/{name}", "r+") as file:
                file.write(value)


def ends_of(output: str) -> str:
    """Return what a report has room for: the cause is told first, the end last."""
    most = REPORT_CHARACTERS
    return output if len(output) <= most else f"{output[: most // 2]}\n...\n{output[-most // 2 :]}"


def points(output: str) -> list[tuple[str, str]]:
    """Return (description, pass | fail | skip) of each point; equal descriptions are numbered."""
    found: list[tuple[str, str]] = []
    seen: dict[str, int] = {}
    for line in output.splitlines():
        match = POINT.match(line.rstrip())
        if match is None:
            continue
        name, _, directive = match[2].partition("# ")
        skipped = directive.lower().startswith(("skip", "todo"))
        name = re.sub(r" in \d+ms$", "", name.strip() or directive.strip())
        # What names a random file or id is the same point in every run.
        name = re.sub(r"ocitest\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "*", name)
        seen[name] = seen.get(name, 0) + 1
        name = name if seen[name] == 1 else f"{name} ({seen[name]})"
        found.append((name, "skip" if skipped else "fail" if match[1] else "pass"))
    return found


def validation(scratch: fetch.Scratch, runtime: str, match: str) -> dict[str, report.Result]:
    results: dict[str, report.Result] = {}
    environment = {**os.environ, "RUNTIME": runtime, "TMPDIR": TEMPORARY}
    for path in sorted(glob.glob(f"{scratch.programs}/*")):
        name = f"validation {os.path.basename(path)}"
        if not re.search(match, name):
            continue
        output, status = run_bounded([path], VALIDATION_S, cwd=scratch.tools, env=environment)
        clean(runtime, [""])
        found = points(output)
        for point, result in found:
            results[f"{name}: {point}"] = report.Result(result, ends_of(output))
        if status or not found:
            # A program that gives up has no points: its end counts as one.
            word = "fail" if status else "pass"
            results[f"{name}: ends well"] = report.Result(word, ends_of(output))
        words = [word for _, word in found]
        progress(name, status, f"{words.count('pass')} ok, {words.count('fail')} not ok")
    return results


def bats(scratch: fetch.Scratch, runtime: str, match: str) -> dict[str, report.Result]:
    results: dict[str, report.Result] = {}
    environment = {**scratch.environment, "RUNC": runtime, "TMPDIR": TEMPORARY, "TERM": "xterm"}
    where = f"{scratch.runc}/tests/integration"
    for path in sorted(glob.glob(f"{where}/*.bats")):
        with open(path, encoding="utf-8") as file:
            names = NAME.findall(file.read())
        for name in names:
            test = f"bats {os.path.basename(path)}: {name}"
            if not re.search(match, test):
                continue
            only = "^" + re.sub(r"([][\\.*^$+?(){}|/])", r"\\\1", name.replace('\\"', '"')) + "$"
            command = ["bats", "--tap", "--filter", only, path]
            output, status = run_bounded(command, BATS_S, cwd=where, env=environment)
            clean(runtime, glob.glob(f"{TEMPORARY}/bats-run-*/*/state"))
            found = points(output)
            word = "fail" if status or len(found) != 1 else found[0][1]
            results[test] = report.Result(word, ends_of(output))
            progress(test, status, word)
    return results


def progress(test: str, status: int, text: str) -> None:
    bound = " (hung: killed)" if status == -1 else ""
    fetch.say(f"{test}: {text}{bound}")


SUITES = {"validation": validation, "bats": bats}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", default=f"{CHECKOUT}/bin/aisbx-runtime")
    parser.add_argument("--control", default="/usr/sbin/runc", help='"" runs no control')
    parser.add_argument("--suite", default="trixie", help="the Debian suite of the sources")
    parser.add_argument("--scratch", default="/var/tmp/aisbx-conformance")
    parser.add_argument("--report", default="", help="directory for report.txt and report.json")
    parser.add_argument("--only", choices=sorted(SUITES))
    parser.add_argument("--match", default="", help="a regular expression on the names of tests")
    options = parser.parse_args()
    if os.geteuid():
        sys.exit("conformance: containers need root")
    scratch = fetch.prepare(options.scratch, options.suite)
    # The machine's own /run is out of reach, and orphans of tests become our children.
    host.isolate()
    os.mkdir(TEMPORARY, 0o755)  # other users of containers must reach what is below
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    columns: dict[str, dict[str, report.Result]] = {}
    try:
        for runtime in filter(None, (options.runtime, options.control)):
            for kind in [options.only] if options.only else SUITES:
                fetch.say(f"{kind} with {runtime}")
                found = SUITES[kind](scratch, os.path.abspath(runtime), options.match)
                columns.setdefault(runtime, {}).update(found)
    finally:
        kill_descendants()
        for name in CGROUPS:
            host.remove_cgroups(name)
        shutil.rmtree(TEMPORARY, ignore_errors=True)
    where = options.report or f"{scratch.top}/report"
    return report.write(where, columns, options.runtime, options.control)


if __name__ == "__main__":
    sys.exit(main())
