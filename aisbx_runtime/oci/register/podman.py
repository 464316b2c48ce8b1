"""podman and buildah: one drop-in of containers.conf(5), which both read."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.register.change import Registration, of_marked, quoted

# podman 4 replaces its default lists by these (so they are whole), and fails to parse the
# `{append=true}` of podman 5. The key is `nocgroup`, singular, whatever the man page says.
_TEXT = """\
[engine]
runtime_supports_json = ["crun", "runc", "kata", "runsc", "youki", "krun", "ocijail", "aisbx"]
runtime_supports_nocgroup = ["crun", "krun", "aisbx"]

[engine.runtimes]
aisbx = [{program}]
"""
_USES = {
    "podman": "podman run --runtime aisbx IMAGE",
    "buildah": "buildah run --runtime aisbx CONTAINER COMMAND",
}


def text(program: str) -> str:
    """Return the drop-in, without the mark."""
    return _TEXT.format(program=quoted(program))


def path_below(etc: str) -> str:
    """Return where the drop-in lies below /etc, or below a user's ~/.config."""
    return f"{etc}/containers/containers.conf.d/aisbx.conf"


def etc_of_caller() -> str:
    """Return /etc for root, else where a user's own settings lie."""
    if os.geteuid() == 0:
        return "/etc"
    own = os.environment("XDG_CONFIG_HOME")
    if own:
        return own
    home = os.environment("HOME")
    if not home or not home.startswith("/"):
        raise HostError(
            "cannot tell where this user's settings lie", why="HOME is no absolute path",
            hint="set HOME or XDG_CONFIG_HOME",
        )  # fmt: skip
    return f"{home}/.config"


def registration(engine: str, program: str, etc: str, *, remove: bool = False) -> Registration:
    """Return what podman, or buildah, needs."""
    change = of_marked(path_below(etc), None if remove else text(program))
    return Registration(engine, (change,), restart="", use=_USES[engine])
