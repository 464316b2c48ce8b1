"""Rules of the runtime spec between the fields of config.json, one small function each.

What one value may be by itself is checked where it is read (`parse*`); what this machine can do is
for `plan`. Each check raises the SpecError that names the field, or returns.
"""

from __future__ import annotations

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.spec import validate_linux, validate_process, validate_resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisbx_runtime.oci.spec.model import Process, Resources, Spec
    from aisbx_runtime.oci.spec.node import Document, Path


def version_is_known(spec: Spec, at: Document) -> None:
    # config.md: SemVer, compatible within a major version. A newer minor is not refused: engines
    # move first, and unknown fields are ignored anyway.
    core = spec.oci_version.split("-", 1)[0].split("+", 1)[0].split(".")
    if len(core) != 3 or not all(part.isascii() and part.isdigit() for part in core):
        raise at.error(("ociVersion",), "expected a version", 'write "1.2.1"')
    if core[0].lstrip("0") not in ("", "1"):
        raise at.error(("ociVersion",), "expected version 1 of the runtime spec")


def hook_paths_are_absolute(spec: Spec, at: Document) -> None:
    # config.md: path MUST be absolute.
    hooks = spec.hooks
    for key, entries in (
        ("prestart", hooks.prestart),
        ("createRuntime", hooks.create_runtime),
        ("createContainer", hooks.create_container),
        ("startContainer", hooks.start_container),
        ("poststart", hooks.poststart),
        ("poststop", hooks.poststop),
    ):
        for index, hook in enumerate(entries):
            if not hook.path.startswith("/"):
                raise at.error(("hooks", key, index, "path"), "must be an absolute path")


def process_is_sound(spec: Spec, at: Document) -> None:
    if spec.process is not None:
        check_process(spec.process, at, ("process",))


def resources_are_sound(spec: Spec, at: Document) -> None:
    if spec.linux.resources is not None:
        check_resources(spec.linux.resources, at, ("linux", "resources"))


CHECKS = (
    version_is_known,
    hook_paths_are_absolute,
    *validate_linux.CHECKS,
    process_is_sound,
    resources_are_sound,
)


def check_spec(spec: Spec, document: Document) -> None:
    """Check all rules of a container. Raises SpecError for the first that is broken."""
    for check in CHECKS:
        check(spec, document)


def check_process(process: Process, document: Document, path: Path) -> None:
    """Check all rules of the process that stands at `path`. Raises SpecError."""
    for check in validate_process.CHECKS:
        check(process, document, path)


def check_resources(resources: Resources, document: Document, path: Path) -> None:
    """Check all rules of the limits that stand at `path`. Raises SpecError."""
    for check in validate_resources.CHECKS:
        check(resources, document, path)


def broken(spec: Spec, document: Document) -> Iterator[SpecError]:
    """Yield the error of each check that fails, where `check_spec` would stop at the first."""
    for check in CHECKS:
        try:
            check(spec, document)
        except SpecError as error:
            yield error
