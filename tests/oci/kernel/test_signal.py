"""Signals and ends of children, by pidfd."""

from __future__ import annotations

import os
import signal as signals

import pytest

from aisbx_runtime.oci.kernel import signal
from aisbx_runtime.oci.kernel.process import clone3


@pytest.fixture
def child():
    pid, pidfd = clone3()
    if pid == 0:
        signals.pause()
        os._exit(0)
    yield pidfd
    signal.send_signal(pidfd, signals.SIGKILL)
    os.close(pidfd)


def test_a_signal_reaches_the_process(child):
    assert signal.send_signal(child, signals.SIGTERM)
    assert -signals.SIGTERM == signal.reap(child)


def test_a_process_that_is_gone_is_told_and_is_no_error(child):
    signal.send_signal(child, signals.SIGKILL)
    signal.reap(child)

    assert not signal.send_signal(child, signals.SIGTERM)


def test_a_bad_signal_is_an_error(child):
    with pytest.raises(OSError, match="Invalid argument"):
        signal.send_signal(child, 4096)


def test_the_status_of_an_exit_is_its_code():
    pid, pidfd = clone3()
    if pid == 0:
        os._exit(37)

    assert 37 == signal.reap(pidfd)
    os.close(pidfd)
