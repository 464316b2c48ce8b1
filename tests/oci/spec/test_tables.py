"""Tables of names and numbers, and the small readers of lists and names."""

from __future__ import annotations

import resource
import signal

import pytest

from aisbx_runtime.oci.errors import UsageError
from aisbx_runtime.oci.spec import capabilities, cpu_list, rlimits, signals, sysctl


def test_capabilities_are_numbered_without_a_gap():
    assert list(range(41)) == list(capabilities.NUMBERS.values())
    assert capabilities.NUMBERS["CAP_SYS_ADMIN"] == 21


def test_rlimits_have_the_numbers_of_this_machine():
    known = {name: getattr(resource, name) for name in rlimits.NUMBERS if hasattr(resource, name)}

    assert len(known) >= 14
    assert known == {name: rlimits.NUMBERS[name] for name in known}


def test_signals_have_the_numbers_of_this_machine():
    for known in signal.Signals:
        assert known.value == signals.number_of(known.name)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("15", 15),
        ("09", 9),
        ("64", 64),
        ("TERM", 15),
        ("SIGTERM", 15),
        ("term", 15),
        ("sigkill", 9),
        ("CLD", 17),
        ("RTMIN", 34),
        ("RTMIN+0", 34),
        ("RTMIN+3", 37),
        ("SIGRTMIN+30", 64),
        ("RTMAX-1", 63),
        ("rtmax-30", 34),
    ],
)
def test_a_signal_has_many_spellings(text, number):
    assert number == signals.number_of(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "65", "999", "-1", "+9", " 9", "9 ", "1_5", "0x9", "\u0669", "\xb2", "1" * 5000),
        *("SIG", "SIGSIGTERM", "TERM\n", "TERMX", "SIG15", "\u017fTOP", "\xe9"),
        *("RTMIN+31", "RTMIN-1", "RTMIN+", "RTMIN+x", "RTMIN+-1"),
        *("RTMAX-31", "RTMAX+1", "RTMAX-", "RTMAX-65"),
    ],
)
def test_what_is_no_signal_is_refused(text):
    with pytest.raises(UsageError) as refused:
        signals.number_of(text)

    assert refused.value.what.startswith("unknown signal")
    assert refused.value.what.isascii()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", set()),
        (" ", set()),
        ("0", {0}),
        ("0-3,7", {0, 1, 2, 3, 7}),
        ("1, 2 - 3", {1, 2, 3}),
        ("8191", {8191}),
    ],
)
def test_a_list_of_cpus_is_a_set_of_numbers(text, numbers):
    assert numbers == cpu_list.numbers_of(text)


@pytest.mark.parametrize(
    "text", ["a", ",", "1,", "3-1", "-1", "1-", "1--2", "8192", "1\n", "²", "1-2-3", "0" * 9]
)
def test_what_is_no_list_of_cpus_is_none(text):
    assert cpu_list.numbers_of(text) is None


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("", ""),
        ("kernel", ""),
        ("net/../kernel/core_pattern", ""),
        ("net.ipv4.//.x", ""),
        ("/etc/passwd", ""),
        ("net..x", ""),
        ("net.x.", ""),
    ],
)
def test_a_sysctl_is_a_file_below_proc_sys(name, path):
    assert path == sysctl.path_of(name)


@pytest.mark.parametrize(
    ("path", "namespace"),
    [
        ("net/core/somaxconn", "network"),
        ("kernel/msgmax", "ipc"),
        ("fs/mqueue/msg_max", "ipc"),
        ("kernel/domainname", "uts"),
        ("user/max_user_namespaces", "user"),
        ("kernel/core_pattern", ""),
        ("network", ""),
    ],
)
def test_a_sysctl_belongs_to_a_namespace_or_to_the_host(path, namespace):
    assert namespace == sysctl.namespace_of(path)
