"""The config of an image becomes config.json: image-spec, conversion.md.

Pure but for looking into the rootfs, where users and volumes are. Everything in the config is a
stranger's: it chooses what runs, as whom, where, with which variables, and which places are
volumes; nothing else of config.json comes from it.
Two departures, both allowed: a label whose name a runtime might obey becomes no annotation, and the
caller is told; and volumes are overlays of their own, so that they cost nothing.
"""

from __future__ import annotations

from aisbx_runtime.sandbox import defaults
from aisbx_runtime.sandbox.defaults import section
from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images.document import Document
from aisbx_runtime.sandbox.inside import is_directory, real_path
from aisbx_runtime.sandbox.shape import rights
from aisbx_runtime.sandbox.users import user_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.defaults import Json

# conversion.md, Annotation Fields.
_IMPLICIT = (
    ("os", "org.opencontainers.image.os"),
    ("architecture", "org.opencontainers.image.architecture"),
    ("variant", "org.opencontainers.image.variant"),
    ("os.version", "org.opencontainers.image.os.version"),
    ("author", "org.opencontainers.image.author"),
    ("created", "org.opencontainers.image.created"),
)
_STOP_SIGNAL = "org.opencontainers.image.stopSignal"
_PORTS = "org.opencontainers.image.exposedPorts"
_FEATURES = "org.opencontainers.image.os.features"
# No runtime acts on these, nor on a name without a dot; on others they do (run.oci.*,
# org.systemd.property.*, org.criu.config, our own).
_HARMLESS = ("org.opencontainers.image.", "org.label-schema.")
_MOST_VOLUMES = 64
_LONGEST_PATH = 4096


class Converted:
    """What a bundle is made of: see bundle.Base.

    volumes: place inside, and path of what the image has there, below the rootfs; empty: nothing.
    left_out: names of labels that became no annotation.
    """

    def __init__(self, config: Json, entrypoint: list[str], cmd: list[str]) -> None:
        self.config = config
        self.entrypoint = entrypoint
        self.cmd = cmd
        self.volumes: list[tuple[str, str]] = []
        self.left_out: list[str] = []


def converted(image: Document, rootfs: str) -> Converted:
    """Return what the image's config asks for, on top of our defaults. Raises InputError."""
    asked = _wishes(image)
    config = defaults.config()
    process = section(config, "process")
    process["env"] = list(_env(asked.at("Env")))
    process["cwd"] = _working_directory(asked.at("WorkingDir"))
    user = asked.at("User").text("")
    if user:
        process["user"] = user_of(rootfs, user)
        process["capabilities"] = rights(process["user"])
    found = Converted(config, asked.at("Entrypoint").texts(), asked.at("Cmd").texts())
    config["annotations"] = dict(_annotations(image, found.left_out))
    found.volumes = _volumes(asked.at("Volumes"), rootfs)
    return found


def _wishes(image: Document) -> Document:
    asked = image.at("config")
    return Document({}, asked.where, asked.path) if asked.value is None else asked


def _env(asked: Document) -> list[str]:
    found: list[str] = []
    for entry in asked.items():
        name, equals, _ = entry.text().partition("=")
        if not name or not equals:
            raise entry.wrong("NAME=VALUE")
        found.append(entry.text())
    if not any(entry.startswith("PATH=") for entry in found):
        found.append(defaults.PATH)
    return found


def _working_directory(asked: Document) -> str:
    path = asked.text("")
    if len(path) > _LONGEST_PATH:
        raise asked.wrong(f"a path of at most {_LONGEST_PATH} characters")
    # As other engines: a relative one is meant from the root.
    return path if path.startswith("/") else f"/{path}"


def _annotations(image: Document, left_out: list[str]) -> dict[str, str]:
    asked = _wishes(image)
    found = {key: text for field, key in _IMPLICIT if (text := image.at(field).text(""))}
    features = image.at("os.features").texts()
    if features:
        found[_FEATURES] = ",".join(features)
    stop_signal = asked.at("StopSignal").text("")
    if stop_signal:
        found[_STOP_SIGNAL] = stop_signal
    ports = asked.at("ExposedPorts").names()
    if ports:
        found[_PORTS] = ",".join(ports)
    for name, value in asked.at("Labels").text_map().items():
        # conversion.md: what a label says goes before.
        if name and ("." not in name or name.startswith(_HARMLESS)):
            found[name] = value
        else:
            left_out.append(name)
    return found


def _volumes(asked: Document, rootfs: str) -> list[tuple[str, str]]:
    names = asked.names()
    if len(names) > _MOST_VOLUMES:
        raise InputError(
            f"the image has {len(names)} volumes", where=asked.where, why=f"most: {_MOST_VOLUMES}"
        )
    found: list[tuple[str, str]] = []
    for name in names:
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if not name.startswith("/") or ".." in parts or not parts or len(name) > _LONGEST_PATH:
            raise asked.at(name).wrong("an absolute path, without ..")
        inside = real_path(rootfs, name)
        if inside is not None and not is_directory(rootfs, inside):
            raise InputError(f"the volume {name} is no directory", where=asked.where)
        found.append(("/" + "/".join(parts), inside or ""))
    # A volume in a volume is mounted after it.
    return sorted(found)


def stop_signal_of(config: Json) -> str:
    """Return the signal that ends a sandbox as its image wants; TERM where it does not say."""
    signal = section(config, "annotations").get(_STOP_SIGNAL)
    return signal if isinstance(signal, str) else "TERM"
