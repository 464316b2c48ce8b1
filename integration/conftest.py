"""Fixtures of the integration suite: the runtime under test, bundles, and the leak check.

AISBX_TEST_RUNTIME names the binary under test; the default is the checkout's own.
AISBX_TEST_PLAIN_USER has the suite run as the plain user that calls it, see README.md.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)  # the modules beside this one are imported as integration.*

from integration import criu, host, leaks  # noqa: E402
from integration.bundle import Bundle, Template  # noqa: E402
from integration.runtime import Runtime  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PLAIN_USER = bool(os.environ.get("AISBX_TEST_PLAIN_USER"))
ISOLATED = pytest.StashKey[bool]()
BUNDLE_NUMBERS = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if str(item.path).startswith(HERE + os.sep):
            item.add_marker("root")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Isolate the session before the first test of this directory, and its skip conditions."""
    if (os.geteuid() == 0 or PLAIN_USER) and ISOLATED not in item.config.stash:
        host.isolate()
        item.config.stash[ISOLATED] = True


def pytest_markeval_namespace() -> dict[str, object]:
    """Let the conditions of the marks in `needs` probe the machine."""
    return {"host": host}


@pytest.fixture(scope="session", autouse=True)
def _isolation() -> None:
    if os.geteuid() != 0 and not PLAIN_USER:
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def program() -> str:
    path = os.environ.get("AISBX_TEST_RUNTIME", f"{ROOT}/bin/aisbx-runtime")
    if not os.access(path, os.X_OK):
        pytest.skip(f"{path} is missing: make build")
    return os.path.abspath(path)


@pytest.fixture(scope="module")
def systemd(_isolation: None) -> Iterator[None]:
    """The systemd of this machine in reach, for the tests of one file."""
    reason = host.lacks_systemd() or host.lacks_program("systemctl")
    if reason:
        pytest.skip(reason)
    with host.systemd_in_reach():
        yield


@pytest.fixture(scope="session")
def scratch(_isolation: None) -> Iterator[str]:
    """A directory that every user may pass through: pytest's own are 0700."""
    with tempfile.TemporaryDirectory(prefix=f"aisbx-{host.MARK}-") as path:
        os.chmod(path, 0o755)
        if os.geteuid() != 0:
            yield path
            return
        host.mount("tmpfs", path, "tmpfs", data="mode=0755")
        yield path
        host.umount(path)


@pytest.fixture(scope="session")
def template(scratch: str) -> Template:
    reason = host.lacks_program("busybox")
    if reason:
        pytest.skip(reason)
    os.mkdir(f"{scratch}/template")
    return Template(f"{scratch}/template")


@pytest.fixture(scope="session")
def state_root(scratch: str) -> str:
    return f"{scratch}/state"


@pytest.fixture(autouse=True)
def _no_leaks(_isolation: None, state_root: str) -> Iterator[leaks.Snapshot]:
    shim_root = f"/run/containerd/runc/{host.MARK}-ctr"
    before = leaks.Snapshot(state_root, "/run/aisbx", "/run/runc", shim_root)
    yield before

    assert before.leaks() == []


@pytest.fixture
def expected_processes(_no_leaks: leaks.Snapshot) -> set[int]:
    """The processes below this one that were there before the test."""
    return _no_leaks.processes


@pytest.fixture
def runtime(_no_leaks: leaks.Snapshot, program: str, state_root: str) -> Iterator[Runtime]:
    made = Runtime(program, state_root)
    yield made
    made.clean(_no_leaks.processes)


@pytest.fixture
def new_bundle(
    _no_leaks: leaks.Snapshot, scratch: str, template: Template
) -> Iterator[Callable[[], Bundle]]:
    made: list[Bundle] = []

    def make() -> Bundle:
        container_id = f"{host.MARK}-{next(BUNDLE_NUMBERS)}"
        made.append(Bundle(f"{scratch}/{container_id}", container_id, template))
        return made[-1]

    yield make
    for bundle in made:
        shutil.rmtree(bundle.path)


@pytest.fixture
def bundle(new_bundle: Callable[[], Bundle]) -> Bundle:
    return new_bundle()


@pytest.fixture(scope="session")
def probe(scratch: str) -> Callable[[str], str]:
    """Compile integration/probes/NAME.c into a static program and return its host path."""
    reason = host.lacks_program("cc")
    if reason:
        pytest.skip(reason)

    def compiled(name: str) -> str:
        path = f"{scratch}/{name}"
        if not os.path.exists(path):
            source = f"{HERE}/probes/{name}.c"
            subprocess.run(["cc", "-static", "-O1", "-Wall", "-o", path, source], check=True)
        return path

    return compiled


@pytest.fixture(scope="session")
def bin_directory(_isolation: None) -> str:
    """A directory with a criu that works on this kernel, to put first into a PATH."""
    # criu(8): it takes root, and not that of a user namespace.
    reason = host.lacks_capability(21, "CAP_SYS_ADMIN") or criu.lacks_kernel()
    found = criu.installed()
    if not reason and not found:
        reason = host.lacks_program("mmdebstrap")
    if reason:
        pytest.skip(reason)
    return found or criu.build()
