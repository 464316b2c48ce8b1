"""CRI-O: one drop-in of crio.conf(5)."""

from __future__ import annotations

from aisbx_runtime.oci.register.change import Registration, of_marked, quoted

_TEXT = """\
[crio.runtime.runtimes.aisbx]
runtime_path = {program}
runtime_type = "oci"
runtime_root = "/run/aisbx"
"""


def text(program: str) -> str:
    """Return the drop-in, without the mark."""
    return _TEXT.format(program=quoted(program))


def path_below(etc: str) -> str:
    """Return where the drop-in lies."""
    return f"{etc}/crio/crio.conf.d/aisbx.conf"


def registration(program: str, etc: str, *, remove: bool = False) -> Registration:
    """Return what CRI-O needs."""
    return Registration(
        "cri-o",
        (of_marked(path_below(etc), None if remove else text(program)),),
        restart="systemctl restart crio",
        use="a RuntimeClass with handler: aisbx",
    )
