# What typeshed lacks: the C module behind `signal`, as far as it is used. Plain numbers, no enums.
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Final, TypeAlias

_Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None

SIG_BLOCK: Final[int]
SIG_DFL: Final[int]
SIG_IGN: Final[int]
SIG_SETMASK: Final[int]
SIG_UNBLOCK: Final[int]

SIGABRT: Final[int]
SIGALRM: Final[int]
SIGBUS: Final[int]
SIGCHLD: Final[int]
SIGCONT: Final[int]
SIGFPE: Final[int]
SIGHUP: Final[int]
SIGILL: Final[int]
SIGINT: Final[int]
SIGKILL: Final[int]
SIGPIPE: Final[int]
SIGQUIT: Final[int]
SIGSEGV: Final[int]
SIGSTOP: Final[int]
SIGTERM: Final[int]
SIGTSTP: Final[int]
SIGTTIN: Final[int]
SIGTTOU: Final[int]
SIGURG: Final[int]
SIGUSR1: Final[int]
SIGUSR2: Final[int]
SIGWINCH: Final[int]
SIGXFSZ: Final[int]

def pidfd_send_signal(
    pidfd: int, signalnum: int, siginfo: None = None, flags: int = 0, /
) -> None: ...
def pthread_sigmask(how: int, mask: Iterable[int], /) -> set[int]: ...
def set_wakeup_fd(fd: int, /, *, warn_on_full_buffer: bool = True) -> int: ...
def signal(signalnum: int, handler: _Handler, /) -> _Handler: ...
def sigwaitinfo(sigset: Iterable[int], /) -> struct_siginfo: ...
def strsignal(signalnum: int, /) -> str | None: ...
def valid_signals() -> set[int]: ...

class struct_siginfo(tuple[int, int, int, int, int, int, int]):  # noqa: N801  (its name)
    @property
    def si_signo(self) -> int: ...
    @property
    def si_code(self) -> int: ...
