"""The stub has capabilities to execute the program with, which the program does not get."""

from __future__ import annotations

import os
import shutil

import pytest

DAC_OVERRIDE, DAC_READ_SEARCH = 1 << 1, 1 << 2
SHOW = ("/bin/grep", "-E", "Cap(Inh|Prm|Eff|Amb)", "/proc/self/status")

pytestmark = pytest.mark.root


def shown(output):
    return {line.split(":\t")[0]: int(line.split(":\t")[1], 16) for line in output.splitlines()}


def test_it_executes_what_only_they_let_execute_and_gives_them_up(launch, tmp_path):
    program = str(tmp_path / "program")
    shutil.copy(SHOW[0], program)
    os.chmod(program, 0o700)
    both = DAC_OVERRIDE | DAC_READ_SEARCH
    waiting = launch(*SHOW, path=program, user=1000, ambient=both, carried=both)
    report, output, status = waiting.finish()

    assert (report, status) == (b"", 0)
    assert shown(output.decode()) == {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapAmb": 0}


def test_what_it_is_not_told_to_give_up_stays(launch):
    both = DAC_OVERRIDE | DAC_READ_SEARCH
    waiting = launch(*SHOW, user=1000, ambient=both, carried=DAC_READ_SEARCH)
    _, output, _ = waiting.finish()

    assert set(shown(output.decode()).values()) == {DAC_OVERRIDE}
