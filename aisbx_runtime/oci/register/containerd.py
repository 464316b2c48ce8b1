"""containerd: the shim for io.containerd.aisbx.v1, and a runtime handler for Kubernetes.

The handler is a drop-in that config.toml has to import. containerd 1 replaces whole tables of
plugins by an imported one, and containerd 2 does so where the versions differ: there a person has
to write the lines.
"""

from __future__ import annotations

from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.jsontext import is_array, is_object
from aisbx_runtime.oci.register import shim
from aisbx_runtime.oci.register.change import (
    Change,
    Registration,
    is_ours,
    of_marked,
    quoted,
    read,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

RUNTIME = "io.containerd.aisbx.v1"
_PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
_HANDLER = """\
[plugins.{plugin}.containerd.runtimes.aisbx]
  runtime_type = "io.containerd.runc.v2"
  [plugins.{plugin}.containerd.runtimes.aisbx.options]
    BinaryName = {program}
    SystemdCgroup = {systemd}
"""
_MAIN = """\
version = {version}
imports = ["{directory}/*.toml"]
"""


def handler(program: str, version: int, *, systemd: bool = False) -> str:
    """Return the lines of the runtime handler for this version of the configuration."""
    return _HANDLER.format(
        plugin=f'"{_PLUGINS[version]}"', program=quoted(program), systemd=str(systemd).lower()
    )


def text(program: str, version: int, *, systemd: bool = False) -> str:
    """Return the drop-in, without the mark."""
    return f"version = {version}\n\n{handler(program, version, systemd=systemd)}"


def registration(
    program: str,
    library: str,
    etc: str,
    *,
    remove: bool = False,
    shims: str = shim.DIRECTORY,
    containerd: str | None = None,
    major: int | None = None,
) -> Registration:
    """Return what containerd needs.

    shims: where a shim goes that is not found yet. containerd: its path, if it is installed.
    major: its version, if it can be told.
    """
    directory = f"{etc}/containerd/conf.d"
    main_path, drop_in_path = f"{etc}/containerd/config.toml", f"{directory}/aisbx.toml"
    changes: list[Change] = []
    shim_change = shim.change(program, library, shims, containerd, remove=remove)
    if shim_change is not None:
        changes.append(shim_change)
    main = read(main_path)
    left: list[str] = []
    if remove:
        changes.append(of_marked(drop_in_path, None))
        if main is None or is_ours(main):
            changes.append(of_marked(main_path, None))
    elif main is None or is_ours(main):
        version = 2 if major == 1 else 3
        changes.append(of_marked(drop_in_path, text(program, version)))
        changes.append(of_marked(main_path, _MAIN.format(version=version, directory=directory)))
    else:
        settings = _settings(main, main_path)
        version, systemd = _version_of(settings), _uses_systemd(settings)
        reason = _why_not_imported(settings, version, main_path, major)
        if reason:
            lines = handler(program, version if version in _PLUGINS else 2, systemd=systemd)
            left.append(f"{reason} For Kubernetes, write into {main_path}:\n{lines}")
        else:
            changes.append(of_marked(drop_in_path, text(program, version, systemd=systemd)))
            if not _imports(settings, etc):
                line = f'imports = ["{directory}/*.toml"]'
                left.append(f"Write into {main_path}, before its first table:\n{line}\n")
    return Registration(
        "containerd",
        tuple(changes),
        restart="systemctl restart containerd",
        use=f"ctr run --runtime {RUNTIME} IMAGE ID; a RuntimeClass with handler: aisbx",
        left=tuple(left),
    )


def _settings(data: bytes, path: str) -> Mapping[str, object]:
    import tomllib

    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HostError(
            f"{path} is not TOML",
            why=str(error),
            hint="repair it: containerd cannot read it either",
        ) from error


def _version_of(settings: Mapping[str, object]) -> int:
    found = settings.get("version", 1)
    return found if isinstance(found, int) else 0


def _table(settings: object, *names: str) -> Mapping[str, object] | None:
    for name in names:
        if not is_object(settings):
            return None
        settings = settings.get(name)
    return settings if is_object(settings) else None


def _uses_systemd(settings: Mapping[str, object]) -> bool:
    """Tell whether runc's containers are in cgroups of systemd: kubelet has one driver for all."""
    for plugin in _PLUGINS.values():
        options = _table(settings, "plugins", plugin, "containerd", "runtimes", "runc", "options")
        if options is not None:
            return options.get("SystemdCgroup") is True
    return False


def _why_not_imported(
    settings: Mapping[str, object], version: int, path: str, major: int | None
) -> str:
    """Return why a drop-in would do harm, or nothing."""
    if version not in _PLUGINS:
        return f"{path} is of version {version}, and only 2 and 3 are known here."
    plugin = _PLUGINS[version]
    # Only 2.x reads version 3.
    is_first = version == 2 and (major is None or major < 2)
    if is_first and _table(settings, "plugins", plugin) is not None:
        return (
            f"{path} has a table for {plugin}, and containerd 1 would replace all of it "
            "by a drop-in."
        )
    return ""


def _imports(settings: Mapping[str, object], etc: str) -> bool:
    """Tell whether our directory is imported, by the usual words for it."""
    found = settings.get("imports", [])
    words = {f"{etc}/containerd/conf.d/{name}" for name in ("*.toml", "*", "aisbx.toml")}
    words |= {f"conf.d/{name}" for name in ("*.toml", "*", "aisbx.toml")}
    return is_array(found) and any(one in words for one in found)
