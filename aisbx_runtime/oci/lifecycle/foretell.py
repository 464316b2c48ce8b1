"""The plan of create for a bundle: what create carries out, and `plan` and `explain` foretell."""

from __future__ import annotations

from aisbx_runtime.oci import host as hosts
from aisbx_runtime.oci.errors import UsageError
from aisbx_runtime.oci.lifecycle import bundle as bundles
from aisbx_runtime.oci.plan.build import Options, build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Plan
    from aisbx_runtime.oci.spec.model import Spec

_EXAMPLE_ID = "CONTAINER"


def options_of(call: Call, host: Host) -> Options:
    """Return what the command line adds to config.json.

    Raises HostError when systemd is to manage cgroups and cannot be reached.
    """
    systemd = None
    if call.cgroup_manager() == "systemd":
        from aisbx_runtime.oci.systemd import instance

        systemd = instance.detect(host)
    return Options(
        cache_dir=f"{call.root()}/.cache/seccomp",
        cgroup_manager=call.cgroup_manager(),
        systemd=systemd,
        no_pivot=call.values.flag("no-pivot"),
        no_new_keyring=call.values.flag("no-new-keyring"),
    )


def format_of(call: Call) -> str:
    """Return text or json. Raises UsageError for another word."""
    word = call.values.text("format") or "text"
    if word not in {"text", "json"}:
        raise UsageError(f"--format {word}: no such format", hint="write text or json")
    return word


def foretold(call: Call) -> tuple[str, Spec, Host, Plan]:
    """Return the bundle that the call names, what it says, this host, and the plan of create.

    Raises what create would raise before it changes anything.
    """
    path = bundles.directory_of(call.values.words[0] if call.values.words else None)
    _, spec = bundles.read_config(path)
    host = hosts.detect()
    return path, spec, host, build(spec, host, _EXAMPLE_ID, path, options_of(call, host))
