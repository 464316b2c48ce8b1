"""cgroup v2: what limits do, where the file that was written does not show it. No time is asserted.

Discs, swap and devices of the machine itself are left alone: these are the guest's.
"""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from integration import host, needs
from integration.runtime import TIMEOUT_S, call

KIBI, MEBI = 1 << 10, 1 << 20
pytestmark = [needs.unified, needs.cgroups]
DISK = "/var/lib/lab"  # the file system of the guest's own disk


def value(bundle, name):
    """Return the text of a file of the container's cgroup."""
    return host.text_of(f"/sys/fs/cgroup{bundle.cgroup}/{name}").strip()


def wait_for(condition, what):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)  # files of cgroups that tell nobody when they change


@pytest.fixture
def guests_own():
    reason = host.lacks_guest()
    if reason:
        pytest.skip(reason)


# ---- io ------------------------------------------------------------------------------------------
@pytest.fixture
def disk(guests_own):
    """The major and minor number of the guest's disk."""
    number = os.stat(DISK).st_dev
    return {"major": os.major(number), "minor": os.minor(number)}


@pytest.fixture
def on_disk(new_bundle, disk):
    """Make bundles that see a directory of the disk at /disk."""
    paths = []

    def make(script, **resources):
        bundle = new_bundle()
        paths.append(f"{DISK}/{bundle.id}")
        os.mkdir(paths[-1])
        bundle.mount("/disk", "bind", paths[-1], "bind", "rw").script(script)
        return bundle.resources(**resources)

    yield make
    for path in paths:
        subprocess.run(["rm", "-r", path], check=True)


def moved(bundle, disk, name) -> int:
    """Return how many bytes the container has read (rbytes) or written (wbytes)."""
    start = "{major}:{minor} ".format(**disk)
    lines = [line for line in value(bundle, "io.stat").splitlines() if line.startswith(start)]
    words = dict(word.split("=") for word in lines[0].split()[1:]) if lines else {}
    return int(words.get(name, 0))


WRITE = "exec dd if=/dev/zero of=/disk/file bs=64k count=64 oflag=direct"


@needs.controllers("io")
def test_a_rate_holds_back_who_has_it_and_nobody_else(runtime, on_disk, disk):
    rate = {"throttleWriteBpsDevice": [{**disk, "rate": 32 * KIBI}]}
    slow, free = on_disk(WRITE, blockIO=rate), on_disk(WRITE)
    held = runtime.create(slow).start()
    runtime.create(free).start().wait()
    far = moved(free, disk, "wbytes"), moved(slow, disk, "wbytes")

    # The whole of it takes 128 s at this rate.
    assert far[0] >= 4 * MEBI > 2 * MEBI > far[1]
    assert held.status == "running"
    rate["throttleWriteBpsDevice"][0]["rate"] = 512 * MEBI
    held.verb("update", "--resources=-", text=json.dumps({"blockIO": rate})).ok()
    assert held.wait() == 0


@pytest.fixture
def weighing(disk):
    """Give the disk the scheduler that has weights."""
    queue = "/sys/dev/block/{major}:{minor}/queue".format(**disk)
    path = f"{queue}/scheduler"
    words = host.text_of(path).split()
    if "bfq" not in words and "[bfq]" not in words:
        pytest.skip("no scheduler of I/O with weights in this kernel")
    before = next(word.strip("[]") for word in words if word.startswith("["))
    with open(path, "w") as out:
        out.write("bfq")
    # One request at a time, in the order of the weights alone, whoever has just begun, and with
    # some patience for a reader on a machine that is busy: block/bfq-iosched.rst.
    for name, number in (("low_latency", 0), ("strict_guarantees", 1), ("slice_idle", 50)):
        with open(f"{queue}/iosched/{name}", "w") as out:
            out.write(str(number))
    yield
    with open(path, "w") as out:
        out.write(before)


READ = """
dd if=/dev/zero of=/disk/file bs=1M count=64 oflag=direct 2>/dev/null
echo ready
while :; do dd if=/disk/file of=/dev/null bs=4k iflag=direct 2>/dev/null; done
"""


@needs.controllers("io")
@pytest.mark.parametrize("first", [10, 1000])
def test_a_weight_of_io_shares_the_disk(runtime, on_disk, disk, weighing, first):
    weights = [first, {10: 1000, 1000: 10}[first]]
    bundles = [on_disk(READ, blockIO={"weight": weight}) for weight in weights]
    for bundle in bundles:
        runtime.ready(bundle, READ)
    before = [moved(bundle, disk, "rbytes") for bundle in bundles]

    def had():
        after = [moved(bundle, disk, "rbytes") for bundle in bundles]
        return [late - early for late, early in zip(after, before, strict=True)]

    wait_for(lambda: sum(had()) > 24 * MEBI, "nothing is read")
    shares = had()

    assert max(shares) > 2 * min(shares)
    assert (shares[0] > shares[1]) == (first == 1000)


# ---- swap ----------------------------------------------------------------------------------------
@pytest.fixture
def swap(guests_own):
    """A swap file of 64 MiB, where the guest has no swap."""
    path = f"{DISK}/swap"
    with open(path, "wb") as out:
        out.writelines(bytes(MEBI) for _ in range(64))
    os.chmod(path, 0o600)
    call(["mkswap", path]).ok()
    call(["swapon", path]).ok()
    yield
    call(["swapoff", path]).ok()
    os.unlink(path)


FILL = "head -c 24000000 /dev/zero >/shared/file && sync && echo ready && exec sleep 1000"


@needs.controllers("memory")
def test_what_does_not_fit_into_memory_is_swapped(swap, runtime, bundle):
    bundle.mount("/shared", "tmpfs", "tmpfs").resources(
        memory={"limit": 16 * MEBI, "swap": 48 * MEBI}
    )
    container = runtime.ready(bundle, FILL)

    assert int(value(bundle, "memory.swap.current")) > 7 * MEBI
    assert int(value(bundle, "memory.current")) <= 16 * MEBI
    assert container.status == "running"


@needs.controllers("memory")
@pytest.mark.parametrize("swap_mebi", [16, 20])
def test_no_more_is_swapped_than_the_limit_allows(swap, runtime, bundle, swap_mebi):
    # 24 MB need 8 MiB of swap: there are none, or 4.
    bundle.mount("/shared", "tmpfs", "tmpfs").resources(
        memory={"limit": 16 * MEBI, "swap": swap_mebi * MEBI}
    )
    bundle.script(FILL)
    container = runtime.create(bundle).start()

    assert container.wait() == 137
    assert int(value(bundle, "memory.swap.current")) <= (swap_mebi - 16) * MEBI


# ---- rdma ----------------------------------------------------------------------------------------
@pytest.fixture
def rdma_device(guests_own):
    """An RDMA device without hardware, over the loopback interface."""
    if not os.path.isdir("/sys/class/infiniband"):
        pytest.skip("no InfiniBand in this kernel")
    call(["ip", "link", "set", "lo", "up"]).ok()
    call(["rdma", "link", "add", "siw0", "type", "siw", "netdev", "lo"]).ok()
    yield "siw0"
    call(["rdma", "link", "delete", "siw0"]).ok()


@needs.controllers("rdma")
def test_handles_and_objects_of_a_device_are_limited(runtime, bundle, rdma_device):
    bundle.resources(rdma={rdma_device: {"hcaHandles": 3, "hcaObjects": 100}})
    runtime.started(bundle)

    assert value(bundle, "rdma.max") == f"{rdma_device} hca_handle=3 hca_object=100"


@needs.controllers("rdma")
def test_a_limit_of_handles_alone_is_one(runtime, bundle, rdma_device):
    bundle.resources(rdma={rdma_device: {"hcaHandles": 3}})
    runtime.started(bundle)

    assert value(bundle, "rdma.max") == f"{rdma_device} hca_handle=3 hca_object=max"
