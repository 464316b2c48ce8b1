"""Read `linux.seccomp`. Which names libseccomp and this kernel know is for the compiler."""

from __future__ import annotations

from aisbx_runtime.oci.spec.model import Seccomp, SyscallArg, SyscallRule
from aisbx_runtime.oci.spec.node import UINT16, UINT64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.node import Node

ACTIONS = frozenset(
    "SCMP_ACT_" + name
    for name in (
        "KILL",
        "KILL_PROCESS",
        "KILL_THREAD",
        "TRAP",
        "ERRNO",
        "TRACE",
        "ALLOW",
        "LOG",
        "NOTIFY",
    )
)
OPERATORS = frozenset(
    "SCMP_CMP_" + name for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
)
FLAGS = frozenset(
    "SECCOMP_FILTER_FLAG_" + name for name in ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV")
)
ARCHITECTURES = frozenset(
    "SCMP_ARCH_" + name
    for name in [
        "X86",
        "X86_64",
        "X32",
        "ARM",
        "AARCH64",
        "LOONGARCH64",
        "M68K",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PPC",
        "PPC64",
        "PPC64LE",
        "S390",
        "S390X",
        "SH",
        "SHEB",
        "PARISC",
        "PARISC64",
        "RISCV64",
    ]
)


def seccomp_of(node: Node | None) -> Seccomp | None:
    """Return the filter that the object `node` describes."""
    if node is None:
        return None
    # An errno goes into SECCOMP_RET_DATA, the low 16 bits of what a filter returns (seccomp(2)).
    return Seccomp(
        default_action=node.choice("defaultAction", ACTIONS),
        default_errno_ret=node.optional_integer("defaultErrnoRet", UINT16),
        architectures=node.choices("architectures", ARCHITECTURES),
        flags=node.choices("flags", FLAGS) if node.has("flags") else None,
        listener_path=node.text("listenerPath"),
        listener_metadata=node.text("listenerMetadata"),
        syscalls=tuple(map(_syscall_rule_of, node.children("syscalls"))),
    )


def _syscall_rule_of(node: Node) -> SyscallRule:
    names = node.texts("names")
    if not names:
        raise node.error("names", "required, and may not be empty")
    return SyscallRule(
        names=names,
        action=node.choice("action", ACTIONS),
        errno_ret=node.optional_integer("errnoRet", UINT16),
        args=tuple(
            SyscallArg(
                # seccomp_data of the kernel holds six arguments.
                index=arg.required_integer("index", (0, 5)),
                value=arg.required_integer("value", UINT64),
                value_two=arg.integer("valueTwo", UINT64),
                op=arg.choice("op", OPERATORS),
            )
            for arg in node.children("args")
        ),
    )
