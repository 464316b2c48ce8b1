"""The messages of criu's RPC that are used here: requests, options and answers.

Names and numbers are those of criu's images/rpc.proto (criu 4.2), which numbers for good.
"""

from __future__ import annotations

from aisbx_runtime.oci.criu import wire
from aisbx_runtime.oci.record import record

# enum criu_req_type
DUMP, RESTORE, NOTIFY, FEATURE_CHECK, SINGLE_PRE_DUMP = 1, 2, 6, 9, 13
# enum criu_cg_mode: what --manage-cgroups-mode may say
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5}
# enum criu_network_lock_method
NETWORK_LOCKS = {"iptables": 1, "nftables": 2, "skip": 3}

# message criu_opts
_OPTIONS = {
    "images_dir_fd": 1, "pid": 2, "leave_running": 3, "ext_unix_sk": 4, "tcp_established": 5,
    "evasive_devices": 6, "shell_job": 7, "file_locks": 8, "log_level": 9, "log_file": 10,
    "ps": 11, "notify_scripts": 12, "root": 13, "parent_img": 14, "track_mem": 15,
    "auto_dedup": 16, "work_dir_fd": 17, "link_remap": 18, "ext_mnt": 23, "cg_root": 25,
    "rst_sibling": 26, "inherit_fd": 27, "manage_cgroups_mode": 34, "external": 37, "empty_ns": 38,
    "join_ns": 39, "freeze_cgroup": 44, "tcp_skip_in_flight": 46, "lazy_pages": 48,
    "orphan_pts_master": 50, "config_file": 51, "tcp_close": 52, "lsm_profile": 53,
    "lsm_mount_context": 63, "network_lock": 64,
}  # fmt: skip
# message criu_features
_FEATURES = {"mem_track": 1, "lazy_pages": 2}


class Options:
    """What one request asks for, by the names of criu_opts."""

    def __init__(self) -> None:
        """Start empty."""
        self._encoded: list[bytes] = []

    def number(self, name: str, value: int) -> None:
        """Set a number, a truth value or a member of an enumeration."""
        self._encoded.append(wire.number_field(_OPTIONS[name], value))

    def text(self, name: str, value: str) -> None:
        """Set a text, or add one more to a list of them."""
        self._encoded.append(wire.bytes_field(_OPTIONS[name], _bytes(value)))

    def pair(self, name: str, first: str, second: str | int) -> None:
        """Add one more message of two fields: ext_mnt, inherit_fd, cg_root, join_ns; or set ps."""
        encoded = wire.bytes_field(1, _bytes(first))
        if isinstance(second, int):
            encoded += wire.number_field(2, second)
        else:
            encoded += wire.bytes_field(2, _bytes(second))
        self._encoded.append(wire.bytes_field(_OPTIONS[name], encoded))

    def encoded(self) -> bytes:
        """Return the message."""
        return b"".join(self._encoded)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def request(kind: int, options: Options) -> bytes:
    """Return a criu_req that criu carries out."""
    return wire.number_field(1, kind) + wire.bytes_field(2, options.encoded())


def feature_request(name: str) -> bytes:
    """Return a criu_req that asks whether criu and the kernel can do `name`."""
    asked = wire.number_field(_FEATURES[name], 1)
    return wire.number_field(1, FEATURE_CHECK) + wire.bytes_field(5, asked)


def notified(*, success: bool) -> bytes:
    """Return the criu_req that answers a notification: whether criu may go on."""
    return wire.number_field(1, NOTIFY) + wire.number_field(3, int(success))


@record
class Answer:
    """A criu_resp: a notification (`script`, and the pid it is about), or the end of a request.

    errno: what failed first, 0 where criu does not say. message: the first error in criu's log.
    features: the names of those that there are.
    """

    kind: int
    success: bool
    script: str = ""
    pid: int = 0
    errno: int = 0
    message: str = ""
    features: tuple[str, ...] = ()


def answer_of(message: bytes) -> Answer:
    """Return what criu says. Raises ValueError where it is no criu_resp."""
    fields = dict(wire.fields_of(message))
    if 1 not in fields or 2 not in fields:
        text = "no type, or no success"
        raise ValueError(text)
    restored, notice = _nested(fields, 4), _nested(fields, 5)
    features = _nested(fields, 8)
    return Answer(
        kind=_number(fields, 1),
        success=bool(_number(fields, 2)),
        script=_text(notice, 1),
        pid=_number(notice, 2) or _number(restored, 1),
        errno=_number(fields, 7),
        message=_text(fields, 9),
        features=tuple([name for name, tag in _FEATURES.items() if _number(features, tag)]),
    )


def _nested(fields: dict[int, int | bytes], tag: int) -> dict[int, int | bytes]:
    value = fields.get(tag)
    return dict(wire.fields_of(value)) if isinstance(value, bytes) else {}


def _number(fields: dict[int, int | bytes], tag: int) -> int:
    value = fields.get(tag, 0)
    return wire.signed(value) if isinstance(value, int) else 0


def _text(fields: dict[int, int | bytes], tag: int) -> str:
    value = fields.get(tag, b"")
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
