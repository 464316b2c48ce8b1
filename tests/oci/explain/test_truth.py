"""What `explain` says the program will hold is what the kernel gives it."""

from __future__ import annotations

import json

import pytest

from aisbx_runtime.oci.spec.capabilities import NUMBERS
from tests.oci.runtime import Runtime

pytestmark = pytest.mark.root


@pytest.fixture
def runtime(tmp_path):
    made = Runtime(tmp_path)
    yield made
    made("delete", "--force", "c")


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("ambient", [[], ["CAP_KILL"]])
def test_the_capabilities_are_those_that_are_foretold(runtime, uid, ambient, no_new_privileges):
    runtime.config["process"] |= {
        "args": ["/busybox", "grep", "CapPrm", "/proc/self/status"],
        "user": {"uid": uid, "gid": uid},
        "noNewPrivileges": no_new_privileges,
        "capabilities": {
            "bounding": ["CAP_KILL", "CAP_SYS_CHROOT", "CAP_NET_RAW"],
            "permitted": ["CAP_KILL", "CAP_NET_RAW"],
            "effective": ["CAP_KILL"],
            "inheritable": ["CAP_KILL"],
            "ambient": ambient,
        },
    }
    with open(f"{runtime.bundle}/config.json", "w") as file:
        json.dump(runtime.config, file)
    _, said = runtime("explain", "--format", "json", runtime.bundle)
    held = json.loads(said)["capabilities"]["held"]
    code, printed = runtime("run", "--bundle", runtime.bundle, "c")

    assert (0, "CapPrm:") == (code, printed.split()[0])
    assert sum(1 << NUMBERS[name] for name in held) == int(printed.split()[1], 16)
