"""A listener that speaks D-Bus as a test tells it to: on a real socket, in a thread of the test."""

from __future__ import annotations

import os
import socket
import threading

from aisbx_runtime.oci.systemd import wire

OK = b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n"
JOB = "/org/freedesktop/systemd1/job/9"
SYSTEMD = "org.freedesktop.systemd1"
MANAGER = f"{SYSTEMD}.Manager"


def message(kind, fields, signature="", values=(), serial=1) -> bytes:
    """Return a message of any kind; `fields` are (code, signature, value)."""
    body = bytearray()
    wire.put_all(body, signature, values)
    listed = [(code, (kind_, value)) for code, kind_, value in fields]
    if signature:
        listed.append((8, ("g", signature)))
    out = bytearray([ord("l"), kind, 0, 1])
    wire.put_all(out, "uua(yv)", (len(body), serial, tuple(listed)))
    out.extend(bytes(-len(out) % 8))
    return bytes(out + body)


def answer(to, signature="", values=(), sender=":1.1") -> bytes:
    return message(wire.RETURN, [(5, "u", to), (7, "s", sender)], signature, values)


def error(to, name, text="said why") -> bytes:
    return message(wire.ERROR, [(5, "u", to), (4, "s", name), (7, "s", ":1.1")], "s", (text,))


def job_removed(result="done", job=JOB, unit="a.scope", sender=":1.1", member="JobRemoved"):
    fields = [(1, "o", "/org/freedesktop/systemd1"), (2, "s", MANAGER), (3, "s", member)]
    return message(
        wire.SIGNAL, [*fields, (7, "s", sender)], "uoss", (9, job, unit, result)
    )  # fmt: skip


class Fake:
    """Listens at a path; `answers(call)` returns the bytes to send for each call that comes in."""

    def __init__(self, path, answers, login=OK, *, in_pieces=False):
        self.path = os.fspath(path)
        self.calls = []
        self.login = b""
        self._answers, self._says, self._in_pieces = answers, login, in_pieces
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen(5)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"unix:path={self.path}"

    @property
    def methods(self) -> list[str]:
        return [one.member for one in self.calls]

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    self._talk(connection)
                except ConnectionError:
                    continue  # it has heard enough

    def _talk(self, connection):
        data = b""
        while b"BEGIN\r\n" not in data:
            more = connection.recv(4096)
            if not more:
                return
            data += more
        self.login, _, data = data.partition(b"BEGIN\r\n")
        self._send(connection, self._says)
        while True:
            size = wire.size_of(data)
            while not size or len(data) < size:
                more = connection.recv(4096)
                if not more:
                    return
                data += more
                size = wire.size_of(data)
            call = wire.message_of(data[:size])
            data = data[size:]
            self.calls.append(call)
            said = self._answers(call)
            if said is None:
                return
            self._send(connection, said)

    def _send(self, connection, data):
        for at in range(0, len(data), 1 if self._in_pieces else max(len(data), 1)):
            connection.sendall(data[at : at + 1] if self._in_pieces else data)


def systemd(call, **special) -> bytes | None:
    """Answer as systemd does when all goes well, but what a test wants otherwise."""
    if call.member in special:
        wanted = special[call.member]
        return wanted(call) if callable(wanted) else wanted
    if call.member in {"StartTransientUnit", "StopUnit"}:
        return answer(call.serial, "o", (JOB,)) + job_removed()
    if call.member == "Get":
        return answer(call.serial, "v", (("s", "/a/init.scope"),))
    return answer(call.serial)
