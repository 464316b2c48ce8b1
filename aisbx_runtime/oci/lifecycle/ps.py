"""ps: the processes of a container, as host pids or as a table of ps(1)."""

from __future__ import annotations

from aisbx_runtime.oci import cgroup, jsontext, report
from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci.container import STOPPED
from aisbx_runtime.oci.errors import HostError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call


def main(call: Call) -> int:
    """Print the pids as a JSON array, or what ps(1) tells of them.

    None of a stopped container is no error: whoever asks need not race with its end. Without a pid
    namespace of its own others may have outlived its init.
    """
    format_ = call.values.text("format") or "table"
    if format_ not in {"table", "json"}:
        raise UsageError(f"--format {format_}: no such format", hint="write table or json")
    container = containers.load(call.root(), call.values.words[0])
    facts = container.facts()
    pids = cgroup.pids(tuple(facts.texts("cgroups")))
    if not pids and containers.status_of(container, facts) != STOPPED:
        # Without a cgroup only init is known.
        pids = [facts.number("pid")]
    if format_ == "json":
        report.out(jsontext.dump(pids) + "\n")
    else:
        options = call.values.words[1:]
        report.out(_table(pids, options) if options else _plain_table(pids))
    return 0


def _plain_table(pids: list[int]) -> str:
    """Return the table of `ps -ef`, or one of our own where ps(1) is missing or fails."""
    try:
        return _table(pids, ["-ef"])
    except (HostError, UsageError):
        return "".join(["PID\n", *[f"{pid}\n" for pid in pids]])


def _table(pids: list[int], options: list[str]) -> str:
    import subprocess

    try:
        done = subprocess.run(["ps", *options], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HostError("cannot run ps", hint="apt-get install procps, or --format json") from None
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines()
        raise UsageError(f"ps {' '.join(options)} failed", why=said[-1] if said else "")
    titles = lines[0].split()
    if "PID" not in titles:
        raise UsageError(f"ps {' '.join(options)} prints no column PID", hint="ask for it")
    column = titles.index("PID")
    wanted = {str(pid) for pid in pids}
    rows = [line for line in lines[1:] if line.split()[column : column + 1][0] in wanted]
    return "\n".join([lines[0], *rows]) + "\n"
