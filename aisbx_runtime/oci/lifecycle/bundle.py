"""Reading a bundle: config.json -> Spec, with every error of reading at the end of it."""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.spec import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import Spec

CONFIG = "config.json"
# A config.json of an engine is 10 to 100 kB; reading a device by mistake must end.
MAX_CONFIG_BYTES = 64 << 20


def directory_of(option: str | None) -> str:
    """Return the absolute path of a bundle, the working directory when none is named."""
    path = os.path.abspath(option or ".")
    if not os.path.isdir(path):
        raise SpecError(f"there is no bundle directory {path}", hint="name one with --bundle")
    return path


def read_config(bundle: str, other: str = "") -> tuple[bytes, Spec]:
    """Return the bytes of config.json, or of the file in its place, and what they say.

    Raises SpecError.
    """
    name = other or CONFIG
    data = read_file(other or f"{bundle}/{CONFIG}", name)
    return data, parse.spec_of(parse.text_of(data, name), name)


def read_file(path: str, name: str) -> bytes:
    """Return the content of a file that the caller names. Raises SpecError."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
            while chunk := file.read(MAX_CONFIG_BYTES):
                data += chunk
                if len(data) > MAX_CONFIG_BYTES:
                    raise SpecError(f"{name} is larger than {MAX_CONFIG_BYTES} bytes", where=path)
    except OSError as error:
        raise SpecError(
            f"cannot read {name}",
            where=path,
            why=errno.errorcode.get(error.errno or 0, ""),
            hint="make it with aisbx-runtime spec" if name == CONFIG else "",
        ) from None
    return data


def check_rootfs(path: str) -> None:
    """Refuse a rootfs that is not there, before anything is made. Raises SpecError."""
    if not os.path.isdir(path):
        raise SpecError(
            f"root.path: there is no directory {path}",
            where=CONFIG,
            hint="unpack an image there, or correct root.path",
        )


def parsed(config: bytes) -> Spec:
    """Return the Spec of a container's copy of its config.json, which create has checked."""
    spec, _ = parse.read_spec(parse.text_of(config, CONFIG), CONFIG)
    return spec
