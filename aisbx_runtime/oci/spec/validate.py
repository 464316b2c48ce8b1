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
    # move first, and unknown fields are ignored anyway. Nor is 0.x, which runc and crun take: what
    # a draft before 1.0 wrote in another way is refused where it stands.
    if not _is_semantic_version(spec.oci_version):
        raise at.error(("ociVersion",), "expected a semantic version", 'write "1.3.0"')
    if spec.oci_version.partition(".")[0] not in ("0", "1"):
        raise at.error(("ociVersion",), "expected version 1 of the runtime spec", 'write "1.3.0"')


def _is_semantic_version(text: str) -> bool:
    """Tell whether `text` is a version as SemVer 2.0.0 defines it (items 2, 9 and 10)."""
    rest, plus, build = text.partition("+")
    numbers, dash, pre_release = rest.partition("-")
    words = pre_release.split(".") if dash else []
    core = numbers.split(".")
    return (
        len(core) == 3
        and all(map(_is_number, core))
        and all(_is_word(word) and (_is_number(word) or not word.isdigit()) for word in words)
        and (not plus or all(map(_is_word, build.split("."))))
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text[0] != "0" or text == "0")


def _is_word(text: str) -> bool:
    return text.isascii() and text.replace("-", "0").isalnum()


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
