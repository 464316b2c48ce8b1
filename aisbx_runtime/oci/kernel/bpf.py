"""bpf(2), as far as device filters of cgroups need it. Their making lives in `bpf.devices`."""

from __future__ import annotations

from aisbx_runtime.oci.kernel.call import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
else:
    from aisbx_runtime.oci.kernel import c as ctypes

# include/uapi/linux/bpf.h
_BPF_PROG_LOAD = 5
_BPF_PROG_ATTACH = 8
_BPF_PROG_DETACH = 9
_BPF_PROG_GET_FD_BY_ID = 13
_BPF_PROG_QUERY = 16
_BPF_PROG_TYPE_CGROUP_DEVICE = 15
_BPF_CGROUP_DEVICE = 6
_BPF_F_ALLOW_MULTI = 2
_MOST_PROGRAMS = 64  # BPF_CGROUP_MAX_PROGS: more cannot be attached to one cgroup


class _Load(ctypes.Structure):
    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
    )


class _Attach(ctypes.Structure):
    _fields_ = (
        ("target_fd", ctypes.c_uint32),
        ("attach_bpf_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
    )


class _Query(ctypes.Structure):
    _fields_ = (
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("query_flags", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
        ("prog_ids", ctypes.c_uint64),
        ("prog_cnt", ctypes.c_uint32),
    )


class _ById(ctypes.Structure):
    _fields_ = (("prog_id", ctypes.c_uint32), ("next_id", ctypes.c_uint32))


def load_device_program(instructions: bytes, name: str) -> int:
    """Return an fd of a program that judges device accesses of a cgroup. The caller closes it.

    `name` (15 characters at most) is what bpftool shows. Raises KernelError EPERM without
    CAP_BPF and CAP_SYS_ADMIN, EINVAL when the verifier refuses it. See bpf(2), Linux 4.15.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_name = ctypes.create_string_buffer(b"Apache-2.0", 11)
    attr = _Load()
    attr.prog_type = _BPF_PROG_TYPE_CGROUP_DEVICE
    attr.insn_cnt = len(instructions) // 8
    attr.insns = ctypes.addressof(code)
    attr.license = ctypes.addressof(license_name)
    attr.prog_name = name.encode()
    return _bpf(_BPF_PROG_LOAD, attr)


def attach_device_program(cgroup_fd: int, program_fd: int) -> None:
    """Judge the devices of this cgroup v2 by the program too: all that are attached must allow.

    The kernel keeps the program as long as the cgroup. Raises KernelError E2BIG when 64 are
    attached. See bpf(2), BPF_F_ALLOW_MULTI, Linux 4.15.
    """
    attr = _Attach(cgroup_fd, program_fd, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI)
    _bpf(_BPF_PROG_ATTACH, attr)


def detach_device_program(cgroup_fd: int, program_fd: int) -> None:
    """Take one program off this cgroup v2. Raises KernelError ENOENT when it is not attached."""
    _bpf(_BPF_PROG_DETACH, _Attach(cgroup_fd, program_fd, _BPF_CGROUP_DEVICE, 0))


def device_programs(cgroup_fd: int) -> tuple[int, ...]:
    """Return the ids of the programs attached to this cgroup v2 itself. Linux 4.15."""
    ids = (ctypes.c_uint32 * _MOST_PROGRAMS)()
    attr = _Query(cgroup_fd, _BPF_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), _MOST_PROGRAMS)
    _bpf(_BPF_PROG_QUERY, attr)
    return tuple(ids[: attr.prog_cnt])


def open_program(program_id: int) -> int:
    """Return an fd of the program with this id. The caller closes it. Linux 4.13."""
    return _bpf(_BPF_PROG_GET_FD_BY_ID, _ById(program_id, 0))


def _bpf(command: int, attr: ctypes.Structure) -> int:
    # The fds that it returns are close-on-exec from birth.
    return syscall("bpf", command, ctypes.byref(attr), ctypes.sizeof(attr))
