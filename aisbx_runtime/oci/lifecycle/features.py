"""features: what this runtime can do, as features.md of the runtime spec describes it.

Only what works: engines act on it (dockerd turns every `ro` volume into `rro` once it is listed).
"""

from __future__ import annotations

import aisbx_runtime
from aisbx_runtime.oci import host as hosts
from aisbx_runtime.oci import jsontext, report
from aisbx_runtime.oci.kernel.namespaces import TYPES
from aisbx_runtime.oci.lifecycle.version import SPEC_VERSION
from aisbx_runtime.oci.plan.process import KEEP_GROUPS
from aisbx_runtime.oci.seccomp import FLAGS, compiler
from aisbx_runtime.oci.spec import capabilities, mount_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.host import Host

HOOKS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip
# Of the words that ask for a way of mounting, those that plan/refuse.py does not refuse.
_WAYS = ("bind", "rbind", "tmpcopyup")


def main(call: Call) -> int:
    """Print the document."""
    del call
    report.out(jsontext.dump(document(hosts.detect())) + "\n")
    return 0


def _mount_options() -> list[str]:
    tables = (
        mount_options.ATTRIBUTES,
        mount_options.RECURSIVE_ATTRIBUTES,
        mount_options.SUPERBLOCK,
        mount_options.PROPAGATION,
        _WAYS,
    )
    return sorted({name for table in tables for name in table})


def document(host: Host) -> dict[str, object]:
    """Return the features of this runtime on this host."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": list(HOOKS),
        "mountOptions": _mount_options(),
        "linux": {
            "namespaces": sorted(TYPES),
            "capabilities": [
                name
                for name, number in capabilities.NUMBERS.items()
                if number <= host.last_capability
            ],
            "cgroup": {
                "v1": True,
                "v2": True,
                "systemd": False,
                "systemdUser": False,
                "rdma": True,
            },
            "seccomp": {
                "enabled": True,
                "actions": sorted(compiler.ACTIONS),
                "operators": sorted(compiler.OPERATORS),
                "archs": sorted(compiler.ARCHITECTURES),
                "knownFlags": sorted(FLAGS),
                "supportedFlags": sorted(FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": False}},
            "netDevices": {"enabled": False},
        },
        "annotations": {"dev.aisbx.runtime.version": aisbx_runtime.__version__},
        "potentiallyUnsafeConfigAnnotations": [KEEP_GROUPS],
    }
