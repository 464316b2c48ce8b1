"""features: what this runtime can do, as features.md of the runtime spec describes it.

features.md wants what the runtime implements, "irrelevant to the actual availability of the
features in the host operating system": so intelRdt, apparmor, rdma and the like are there on every
host, as is each word that config.json may have. What this host can do is `doctor`'s to say.
Of the host are only those that engines act on and would fail with: id mapped mounts (containerd
uses user namespaces then, though features-linux.md wants `true`), the systemd manager, checkpoint;
and the flags of seccomp that the kernel knows, as `supportedFlags` is defined.
"""

from __future__ import annotations

import aisbx_runtime
from aisbx_runtime.oci import host as hosts
from aisbx_runtime.oci import jsontext, report
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.criu import CONFIG_ANNOTATION, program
from aisbx_runtime.oci.kernel.filter import knows_flags
from aisbx_runtime.oci.kernel.namespaces import TYPES
from aisbx_runtime.oci.lifecycle.version import SPEC_VERSION
from aisbx_runtime.oci.plan import memory_policy
from aisbx_runtime.oci.plan.process import KEEP_GROUPS
from aisbx_runtime.oci.seccomp import ASKED, compiler
from aisbx_runtime.oci.spec import capabilities, mount_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.host import Host

HOOKS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip
# Of the words that ask for a way of mounting, those that plan/refuse.py does not refuse.
_WAYS = (
    "bind", "rbind", "remount", "tmpcopyup", "copy-symlink", "src-nofollow", "dest-nofollow",
)  # fmt: skip
_ID_MAPPED = ("idmap", "ridmap")


def main(call: Call) -> int:
    """Print the document."""
    del call
    from aisbx_runtime.oci.plan import idmap

    host = hosts.detect()
    # sd_booted(3).
    by_systemd = host.unified and os.path.isdir("/run/systemd/system")
    found = document(
        host,
        maps_ids=idmap.works(),
        checkpoints=not program.find().lacks,
        by_systemd=by_systemd,
        flags=[name for name, asked in ASKED.items() if knows_flags(asked)],
    )
    report.out(jsontext.dump(found) + "\n")
    return 0


def _mount_options(*, maps_ids: bool) -> list[str]:
    tables = (
        mount_options.ATTRIBUTES,
        mount_options.RECURSIVE_ATTRIBUTES,
        mount_options.SUPERBLOCK,
        mount_options.PROPAGATION,
        _WAYS,
        _ID_MAPPED if maps_ids else (),
    )
    return sorted({name for table in tables for name in table})


def document(
    host: Host,
    *,
    maps_ids: bool = False,
    checkpoints: bool = False,
    by_systemd: bool = False,
    flags: Iterable[str] = ASKED,
) -> dict[str, object]:
    """Return the features of this runtime; `flags` are those of seccomp that the kernel knows."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": list(HOOKS),
        "mountOptions": _mount_options(maps_ids=maps_ids),
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
                "systemd": by_systemd,
                "systemdUser": by_systemd,
                "rdma": True,
            },
            "seccomp": {
                "enabled": True,
                "actions": sorted(compiler.ACTIONS),
                "operators": sorted(compiler.OPERATORS),
                "archs": sorted(compiler.ARCHITECTURES),
                "knownFlags": sorted(ASKED),
                "supportedFlags": sorted(flags),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "mountExtensions": {"idmap": {"enabled": maps_ids}},
            "netDevices": {"enabled": True},
            "memoryPolicy": {
                "modes": sorted(memory_policy.MODES),
                "flags": sorted(memory_policy.FLAGS),
            },
        },
        "annotations": {
            "dev.aisbx.runtime.version": aisbx_runtime.__version__,
            # features.md has no field for it; runc's is the name that is looked for.
            "org.opencontainers.runc.checkpoint.enabled": "true" if checkpoints else "false",
        },
        "potentiallyUnsafeConfigAnnotations": [
            CONFIG_ANNOTATION,
            KEEP_GROUPS,
            "org.systemd.property.",
            "run.oci.systemd.subgroup",
        ],
    }
