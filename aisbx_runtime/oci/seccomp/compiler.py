"""The profile of config.json to BPF, by the Python binding of libseccomp. Only on a cache miss.

Nothing here changes the seccomp state of this process: filters are exported, never loaded.
Two bindings do: `seccomp` (libseccomp's own, Debian's python3-seccomp) and `pyseccomp` (PyPI).
They take the numbers of libseccomp's interface alike, so these are used, not their attributes.
The names of actions, operators and architectures are `spec`'s to check.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys

from aisbx_runtime.oci.errors import HostError, SpecError
from aisbx_runtime.oci.seccomp import enosys, proof
from aisbx_runtime.oci.seccomp.cache import INSTRUCTION_BYTES, MAX_INSTRUCTIONS, is_plausible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import BinaryIO, Protocol

    from aisbx_runtime.oci.spec.model import Seccomp, SyscallArg

    Condition = tuple[int, int, int, int]  # argument, operator, two numbers: binding.Arg(...)
    Rule = tuple[str, int, tuple[str, ...], list[list[Condition]]]
    Addition = tuple[str, int, str, int, list[Condition]]

    class Filter(Protocol):
        """A filter of libseccomp, in either binding."""

        def exist_arch(self, arch: int) -> bool: ...
        def add_arch(self, arch: int) -> None: ...
        def set_attr(self, attr: int, value: int) -> None: ...
        def add_rule(self, action: int, syscall: int, *args: object) -> None: ...
        def export_bpf(self, file: BinaryIO) -> None: ...


# include/uapi/linux/seccomp.h, SECCOMP_RET_*
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
# What errnoRet may hold: libseccomp takes an errno below MAX_ERRNO, a tracer gets 16 bits.
DATA_LIMITS = {"SCMP_ACT_ERRNO": 4094, "SCMP_ACT_TRACE": 0xFFFF}

# libseccomp's seccomp.h, enum scmp_compare
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

# include/uapi/linux/audit.h, AUDIT_ARCH_*; x32 is a word of libseccomp alone.
ARCHITECTURES = {
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_LOONGARCH64": 0xC0000102,
    "SCMP_ARCH_M68K": 0x00000004,
    "SCMP_ARCH_MIPS": 0x00000008,
    "SCMP_ARCH_MIPS64": 0x80000008,
    "SCMP_ARCH_MIPS64N32": 0xA0000008,
    "SCMP_ARCH_MIPSEL": 0x40000008,
    "SCMP_ARCH_MIPSEL64": 0xC0000008,
    "SCMP_ARCH_MIPSEL64N32": 0xE0000008,
    "SCMP_ARCH_PARISC": 0x0000000F,
    "SCMP_ARCH_PARISC64": 0x8000000F,
    "SCMP_ARCH_PPC": 0x00000014,
    "SCMP_ARCH_PPC64": 0x80000015,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
    "SCMP_ARCH_S390": 0x00000016,
    "SCMP_ARCH_S390X": 0x80000016,
    "SCMP_ARCH_SH": 0x4000002A,
    "SCMP_ARCH_SHEB": 0x0000002A,
}

ARCH_NATIVE = 0  # SCMP_ARCH_NATIVE
NR_SCMP_ERROR = -1  # no architecture of this libseccomp has a call of that name
CTL_OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE, libseccomp 2.5
BINARY_TREE = 2
# runc's number. With a tree the kernel loads a long program four times faster (it runs it once
# for each system call); libseccomp up to 2.5.4 misbehaves when there are no rules at all.
TREE_FROM_RULES = 33

# On x86 calls of one number: libseccomp has numbers of its own for their parts, in these ranges.
_PARTS = ((-120, -100, "socketcall"), (-224, -200, "ipc"))

# What the bindings raise: libseccomp's own knows ValueError and RuntimeError, pyseccomp OSError.
_REFUSED = (ValueError, RuntimeError, OSError)


def program_of(seccomp: Seccomp) -> bytes:
    """Compile the profile. Raises SpecError, HostError if libseccomp is missing or refuses."""
    default = _action(
        seccomp.default_action,
        seccomp.default_errno_ret,
        "linux.seccomp.defaultErrnoRet",
    )
    rules = list(_rules(seccomp, default))
    binding = load_binding()
    compiled: Filter = binding.SyscallFilter(default)
    for position, name in enumerate(seccomp.architectures):
        _add_architecture(compiled, name, f"linux.seccomp.architectures[{position}]")
    additions = _additions(binding, rules)
    _add_rules(binding, compiled, additions)
    tokens = _tokens(binding, seccomp.architectures)
    before = enosys.prefix(seccomp, tokens, lambda token, name: _number_on(binding, token, name))
    program = before + _exported(compiled)
    _check_length(program)
    _prove(binding, program, tokens, additions, default)
    return program


def _additions(binding: ModuleType, rules: list[Rule]) -> list[Addition]:
    return [
        (at, action, name, number, conditions)
        for at, action, names, alternatives in rules
        for name, number in _numbers(binding, names)
        for conditions in alternatives
    ]


def _add_rules(binding: ModuleType, compiled: Filter, additions: list[Addition]) -> None:
    if len(additions) >= TREE_FROM_RULES:
        _ask_for_a_tree(compiled)
    for at, action, name, number, conditions in additions:
        try:
            compiled.add_rule(action, number, *[binding.Arg(*each) for each in conditions])
        except _REFUSED as error:
            raise SpecError(
                f'{at}: libseccomp refuses the rule for "{name}"',
                where="config.json",
                why=_why(error),
                hint="look for another rule that gives the same call another action",
            ) from error


def _tokens(binding: ModuleType, architectures: tuple[str, ...]) -> list[int]:
    """Return libseccomp's numbers of the architectures; the native one is always in a filter."""
    native = int(binding.system_arch())
    return list(
        dict.fromkeys([native & 0xFFFFFFFF, *[ARCHITECTURES[name] for name in architectures]])
    )


def _number_on(binding: ModuleType, token: int, name: str) -> int:
    """Return the number of a call on an architecture, negative if it has none."""
    if not (name.isascii() and name.isidentifier()):
        return NR_SCMP_ERROR
    number: int = binding.resolve_syscall(_signed(token), name)
    for first, last, whole in _PARTS:
        if first <= number <= last:
            # Debian's binding does that by itself.
            return _number_on(binding, token, whole)
    return number


def _prove(
    binding: ModuleType,
    program: bytes,
    tokens: list[int],
    additions: list[Addition],
    default: int,
) -> None:
    """Raise HostError where libseccomp has made something else of the rules of one call."""
    instructions = proof.decoded(program)
    for token in tokens:
        for calls in _together(binding, token, additions):
            rules = [(action & 0xFFFFFFFF, conditions) for _, action, _, _, conditions in calls]
            at, _, name, _, _ = calls[0]
            number = _number_on(binding, token, name)
            wrong = proof.wrong_arguments(instructions, token, number, rules, default & 0xFFFFFFFF)
            if wrong is not None:
                shown = ", ".join([f"{argument:#x}" for argument in wrong])
                raise HostError(
                    f'{at}: libseccomp compiles the rules for "{name}" to something else',
                    where="config.json",
                    why=f"wrong for the arguments {shown}",
                    hint="libseccomp before 2.6 merges rules for one call wrongly if they compare"
                    " with NE, LT, LE, GE or GT: make them one, or upgrade it",
                )


def _together(binding: ModuleType, token: int, additions: list[Addition]) -> list[list[Addition]]:
    """Return the rules of each call that has several of them, with conditions."""
    grouped: dict[int, list[Addition]] = {}
    for addition in additions:
        grouped.setdefault(_number_on(binding, token, addition[2]), []).append(addition)
    # Parts of socketcall and ipc share a number, and their first argument decides: not tried.
    wholes = {_number_on(binding, token, whole) for _, _, whole in _PARTS}
    return [
        calls
        for number, calls in grouped.items()
        if number >= 0 and number not in wholes and len(calls) > 1 and any(c[4] for c in calls)
    ]


def _rules(seccomp: Seccomp, default: int) -> Iterator[Rule]:
    for position, rule in enumerate(seccomp.syscalls):
        at = f"linux.seccomp.syscalls[{position}]"
        action = _action(rule.action, rule.errno_ret, f"{at}.errnoRet")
        # libseccomp: EACCES for a rule that says what the default says (errno included).
        if action != default:
            yield at, action, rule.names, _alternatives(rule.args)


def _action(name: str, errno_ret: int | None, errno_at: str) -> int:
    """Return the action as the number that the bindings take."""
    if name not in DATA_LIMITS:
        if errno_ret is not None:
            # config-linux.md, seccomp: an error must be generated for an action without errno.
            raise SpecError(
                f"{errno_at}: {name} returns no errno",
                where="config.json",
                hint="remove it: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take one",
            )
        return _signed(ACTIONS[name])
    data = errno.EPERM if errno_ret is None else errno_ret
    if not 0 <= data <= DATA_LIMITS[name]:
        raise SpecError(
            f"{errno_at}: {data} is out of range",
            where="config.json",
            hint=f"{name} takes 0 to {DATA_LIMITS[name]}",
        )
    return ACTIONS[name] | data


def _alternatives(args: tuple[SyscallArg, ...]) -> list[list[Condition]]:
    """Return the lists of conditions of a rule: it matches if all of one list hold."""
    # For SCMP_CMP_MASKED_EQ the first number is the mask, in OCI as in libseccomp.
    conditions = [(arg.index, OPERATORS[arg.op], arg.value, arg.value_two) for arg in args]
    if len({condition[0] for condition in conditions}) < len(conditions):
        # libseccomp takes one condition for each argument. runc, crun and youki then make every
        # condition (not only those on the same argument) a rule of its own: or instead of and.
        return [[condition] for condition in conditions]
    return [conditions]


def _numbers(binding: ModuleType, names: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Resolve the names; one that libseccomp does not know is skipped, as runc and crun do."""
    for name in names:
        # As C strings, "read\0x" would be taken for "read".
        if name.isascii() and name.isidentifier():
            number = binding.resolve_syscall(ARCH_NATIVE, name)
            if number != NR_SCMP_ERROR:
                yield name, number


def _add_architecture(compiled: Filter, name: str, at: str) -> None:
    number = _signed(ARCHITECTURES[name])
    try:
        # The native one is in every filter from the start, and adding it again is an error.
        if not compiled.exist_arch(number):
            compiled.add_arch(number)
    except _REFUSED as error:
        raise HostError(
            f"{at}: libseccomp refuses {name} on this machine",
            where="config.json",
            why=_why(error),
            hint="name only architectures whose programs this machine can execute",
        ) from error


def _ask_for_a_tree(compiled: Filter) -> None:
    # libseccomp before 2.5 has no tree: the program takes longer to load and means the same.
    with contextlib.suppress(*_REFUSED):
        compiled.set_attr(CTL_OPTIMIZE, BINARY_TREE)


def _exported(compiled: Filter) -> bytes:
    # Both bindings hand the file's descriptor to seccomp_export_bpf, which writes to it.
    with open(os.memfd_create("seccomp"), "w+b", buffering=0) as file:
        try:
            compiled.export_bpf(file)
        except _REFUSED as error:
            raise HostError("libseccomp cannot write the filter", why=_why(error)) from error
        file.seek(0)
        return file.read()


def _check_length(program: bytes) -> None:
    if not is_plausible(program):
        raise SpecError(
            f"linux.seccomp: a filter of {len(program) // INSTRUCTION_BYTES} instructions",
            where="config.json",
            hint=f"the kernel takes {MAX_INSTRUCTIONS}: name fewer architectures or rules",
        )


def library_path() -> str:
    """Return the file of the libseccomp that compiled: what an entry of the cache depends on."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            # proc_pid_maps(5): the path is the sixth field.
            fields = line.rstrip("\n").split(None, 5)
            if len(fields) == 6 and os.path.basename(fields[5]).startswith("libseccomp"):
                return fields[5]
    # Linked into the binding.
    return load_binding().__file__ or ""


def load_binding() -> ModuleType:
    """Import a binding of libseccomp, from where Debian and pip put it. Raises HostError."""
    # The runtime runs without `site` (-S); these directories count for this import only, and
    # last, so that nothing in them can take the place of the standard library.
    path = list(sys.path)
    sys.path.extend(_package_directories())
    try:
        reasons: list[str] = []
        for name, load in (("seccomp", _load_seccomp), ("pyseccomp", _load_pyseccomp)):
            try:
                return load()
            except (ImportError, OSError, RuntimeError) as error:
                reasons.append(f"{name}: {type(error).__name__}")
    finally:
        sys.path[:] = path
    raise HostError(
        "cannot compile linux.seccomp: there is no Python binding of libseccomp",
        why=", ".join(reasons),
        hint="apt-get install python3-seccomp"
        f" (or: {sys.executable or 'python3'} -m pip install pyseccomp)",
    )


def _package_directories() -> Iterator[str]:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    # In a virtual environment without `site`, sys.prefix is still that of its interpreter.
    environment = os.path.dirname(os.path.dirname(sys.executable))
    for prefix in dict.fromkeys((environment, sys.prefix)):
        yield f"{prefix}/lib/{version}/site-packages"
        yield f"{prefix}/{sys.platlibdir}/{version}/site-packages"  # Fedora: lib64
        yield f"{prefix}/local/lib/{version}/dist-packages"  # Debian: pip as root
        yield f"{prefix}/lib/python3/dist-packages"  # Debian: apt


def _load_seccomp() -> ModuleType:
    seccomp = __import__("seccomp")
    if not hasattr(seccomp, "SyscallFilter"):
        message = "not libseccomp's binding"
        raise ImportError(message)
    return seccomp


def _load_pyseccomp() -> ModuleType:
    """Import pyseccomp without the search for the library, which starts other programs.

    `ctypes.util.find_library` runs ldconfig, gcc and ld, and needs PATH for the last two; engines
    call us with an empty environment. The dynamic linker finds a soname by itself.
    """
    import ctypes  # noqa: TID251  (no system call: only pyseccomp's own use of it is prepared)

    lent = type(sys)("ctypes.util")
    # None, for "c", makes ctypes take the C library of this process.
    lent.__dict__["find_library"] = {"seccomp": "libseccomp.so.2"}.get
    loaded = sys.modules.get("ctypes.util")
    sys.modules["ctypes.util"] = ctypes.__dict__["util"] = lent
    try:
        return __import__("pyseccomp")
    finally:
        del sys.modules["ctypes.util"], ctypes.__dict__["util"]
        if loaded is not None:
            sys.modules["ctypes.util"] = ctypes.__dict__["util"] = loaded


def _signed(number: int) -> int:
    """Return the number as a C int, which libseccomp's own binding asks for."""
    return number - (1 << 32) if number >> 31 else number


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return errno.errorcode.get(error.errno, str(error.errno))
    return str(error)
