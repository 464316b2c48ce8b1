# What typeshed lacks of the C module behind `signal`, as far as it is used.
def pidfd_send_signal(
    pidfd: int, signalnum: int, siginfo: None = None, flags: int = 0, /
) -> None: ...
