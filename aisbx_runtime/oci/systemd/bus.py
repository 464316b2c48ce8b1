"""A connection to systemd: directly, or by a bus. Calls, answers and signals, with one deadline.

What the messages look like is `wire`'s; what is asked, `scope`'s.
"""

from __future__ import annotations

import _socket
import errno
import time

from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.systemd import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from aisbx_runtime.oci.systemd.wire import Message, Value

SYSTEMD = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
PROPERTIES = "org.freedesktop.DBus.Properties"
_BUS = "org.freedesktop.DBus"
_BUS_PATH = "/org/freedesktop/DBus"
# systemd has one thread, and seconds are real on a machine that starts many containers; runc has
# the same limit.
TIMEOUT_S = 30.0
# D-Bus specification, "Authentication Protocol". No identity is claimed: whoever listens takes the
# one that the kernel reports, which in a user namespace is not the one that we know ourselves by.
_LOGIN = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"
_ACCEPTED = b"OK "
_MAX_LINES_BYTES = 16384

# Said at once: engines do not pass hints on, and podman has a flag of this name too.
WITHOUT = "--cgroup-manager=cgroupfs does without it"


class CallError(Exception):
    """systemd, or the bus, answered with an error. `name` is such as `...systemd1.UnitExists`."""

    def __init__(self, name: str, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.name = name
        self.text = text

    def why(self) -> str:
        """Return the error for people: the last part of its name says what kind it is."""
        return f"{self.name.rpartition('.')[2]}: {self.text}"


class Bus:
    """A connection. Use it in `with`; all of it together has `timeout_s` seconds."""

    def __init__(self, address: str, timeout_s: float = TIMEOUT_S) -> None:
        """Connect and log in. Raises OSError, HostError when nobody answers in time.

        `address` is one of D-Bus: `unix:path=...`, or `unix:abstract=...`.
        """
        self.address = address
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._serial = 0
        self._received = b""
        self._answers: dict[int, Message] = {}
        self._signals: list[Message] = []
        self._logged_in = False
        self._hello = 0
        # systemd's own socket has no bus behind it: nobody to greet, every signal comes.
        self.direct = address.endswith("/systemd/private")
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            self._limit_time()
            self._socket.connect(_path_of(address))
            self._out = bytearray()
            if not self.direct:
                self._hello = self.send(_BUS, _BUS_PATH, (_BUS, "Hello"))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        """Return the connection."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._socket.close()

    def peer_pid(self) -> int:
        """Return the pid of whoever listens, 0 when it is outside of this pid namespace.

        See unix(7), SO_PEERCRED.
        """
        found = self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        return int.from_bytes(found[:4], "little")

    def send(
        self,
        destination: str,
        path: str,
        member: tuple[str, str],
        signature: str = "",
        values: tuple[Value, ...] = (),
    ) -> int:
        """Queue a call and return its serial; all that is queued goes out before the next wait."""
        self._serial += 1
        self._out += wire.call(self._serial, destination, path, member, signature, values)
        return self._serial

    def ask(self, method: str, signature: str = "", values: tuple[Value, ...] = ()) -> int:
        """Queue a call of systemd's manager."""
        return self.send(SYSTEMD, MANAGER_PATH, (MANAGER, method), signature, values)

    def watch(self, rule: str) -> None:
        """Let signals come that fit; before the call whose signal it is."""
        if not self.direct:
            self.send(_BUS, _BUS_PATH, (_BUS, "AddMatch"), "s", (rule,))

    def manager_property(self, name: str) -> str:
        """Ask systemd's manager for a text about itself. Raises CallError, HostError."""
        serial = self.send(SYSTEMD, MANAGER_PATH, (PROPERTIES, "Get"), "ss", (MANAGER, name))
        value = self.answer(serial).body[0]
        return str(value[1]) if isinstance(value, tuple) else ""

    def answer(self, serial: int) -> Message:
        """Wait for the answer to a call. Raises CallError, HostError."""
        while serial not in self._answers:
            self._receive()
        found = self._answers.pop(serial)
        if found.kind == wire.ERROR:
            raise CallError(found.error_name, str(found.body[0]) if found.body else "")
        return found

    def signal(self, member: str) -> Message:
        """Wait for the next signal of systemd's manager with this name. Raises HostError."""
        while True:
            for one in self._signals:
                if one.member == member and one.interface == MANAGER:
                    self._signals.remove(one)
                    return one
            self._signals.clear()
            self._receive()

    # ---- bytes -----------------------------------------------------------------------------------
    def _limit_time(self) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)

    def _receive(self) -> None:
        try:
            if not self._logged_in:
                # Nothing is sent behind it: systemd would read that, and then wait for more
                # before it looks at it (seen with version 262).
                self._write(bytearray(_LOGIN))
                self._log_in()
            self._write(self._out)
            size = wire.size_of(self._received)
            while not size or len(self._received) < size:
                self._read()
                size = wire.size_of(self._received)
            found = wire.message_of(self._received[:size])
        except TimeoutError:
            raise self._failure(f"no answer for {self._timeout_s:g} s") from None
        except (OSError, wire.WireError) as error:
            raise self._failure(_words_of(error)) from None
        self._received = self._received[size:]
        if found.kind == wire.ERROR and found.reply_serial == self._hello:
            raise self._failure(f"{found.error_name}: {''.join(map(str, found.body))}")
        if found.kind in {wire.RETURN, wire.ERROR}:
            self._answers[found.reply_serial] = found
        elif found.kind == wire.SIGNAL:
            self._signals.append(found)

    def _write(self, data: bytearray) -> None:
        while data:
            self._limit_time()
            del data[: self._socket.send(data)]

    def _read(self) -> None:
        self._limit_time()
        found = self._socket.recv(1 << 16)
        if not found:
            raise ConnectionResetError(errno.ECONNRESET, "")
        self._received += found

    def _log_in(self) -> None:
        # It answers `DATA` to the mechanism, then `OK GUID`; messages follow at once.
        while True:
            line, end, rest = self._received.partition(b"\r\n")
            if not end:
                if len(line) > _MAX_LINES_BYTES:
                    raise wire.WireError("no answer to the login")
                self._read()
                continue
            self._received = rest
            if line.startswith(_ACCEPTED):
                self._logged_in = True
                return
            if line.startswith((b"REJECTED", b"ERROR")):
                raise wire.WireError("the login is rejected: it takes no processes of this user")

    def _failure(self, why: str) -> HostError:
        return HostError(
            f"systemd does not answer at {self.address} ({WITHOUT})",
            why=why,
            hint="see `systemctl status` and `systemctl status dbus`",
        )


def _words_of(error: Exception) -> str:
    if isinstance(error, OSError):
        return errno.errorcode.get(error.errno or 0, "") or "the connection broke"
    return str(error)


def _path_of(address: str) -> str | bytes:
    """Return what connect(2) takes. Raises OSError for other transports than unix sockets."""
    for one in address.split(";"):
        transport, _, rest = one.partition(":")
        keys = dict([_pair_of(word) for word in rest.split(",")])
        if transport == "unix" and "path" in keys:
            return keys["path"]
        if transport == "unix" and "abstract" in keys:
            return b"\0" + keys["abstract"]
    raise OSError(errno.EPROTONOSUPPORT, "EPROTONOSUPPORT", address)


def _pair_of(word: str) -> tuple[str, bytes]:
    key, _, value = word.partition("=")
    # D-Bus specification, "Server Addresses": %XX is a byte.
    first, *others = value.split("%")
    found = first.encode("utf-8", "surrogateescape")
    for one in others:
        found += bytes.fromhex(one[:2]) + one[2:].encode("utf-8", "surrogateescape")
    return key, found
