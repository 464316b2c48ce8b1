"""Read config.json, process.json and the file of `update`: text to records, or one SpecError.

Here is the top of config.json; `parse_process`, `parse_linux`, `parse_resources`, `parse_seccomp`
read their parts, `validate` has the rules between fields. Reads no file and touches no kernel.
"""

from __future__ import annotations

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.spec import parse_process, parse_resources, validate
from aisbx_runtime.oci.spec.model import Hook, Hooks, Mount, Root, Spec
from aisbx_runtime.oci.spec.node import INT64, node_of
from aisbx_runtime.oci.spec.parse_linux import linux_of, mappings_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import Process, Resources
    from aisbx_runtime.oci.spec.node import Document, Node


def text_of(data: bytes, where: str) -> str:
    """Return the text of the file `where` that holds `data`. Raises SpecError: not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = f"invalid JSON: byte 0x{data[error.start]:02x} is not UTF-8"
        raise SpecError(problem, where=f"{where}:{line}") from None


def read_spec(text: str, where: str) -> tuple[Spec, Document]:
    """Return what the text of config.json says, before its rules are checked. Raises SpecError."""
    node, document = node_of(text, where)
    process = node.child("process")
    spec = Spec(
        oci_version=node.required_text("ociVersion"),
        root=_root_of(node),
        process=None if process is None else parse_process.process_of(process),
        hostname=node.text("hostname") or None,
        domainname=node.text("domainname") or None,
        mounts=tuple(map(_mount_of, node.children("mounts"))),
        hooks=_hooks_of(node.child("hooks")),
        annotations=node.text_map("annotations"),
        linux=linux_of(node.child("linux")),
    )
    return spec, document


def spec_of(text: str, where: str) -> Spec:
    """Return the container that the text of config.json describes. Raises SpecError."""
    spec, document = read_spec(text, where)
    validate.check_spec(spec, document)
    return spec


def process_of(text: str, where: str) -> Process:
    """Return the process that the text of `exec --process` describes. Raises SpecError."""
    node, document = node_of(text, where)
    process = parse_process.process_of(node)
    validate.check_process(process, document, ())
    return process


def resources_of(text: str, where: str) -> Resources:
    """Return the limits that the text of `update --resources` asks for. Raises SpecError."""
    node, document = node_of(text, where)
    resources = parse_resources.resources_of(node)
    validate.check_resources(resources, document, ())
    return resources


def mounts_of(text: str, where: str) -> tuple[tuple[Mount, ...], Document]:
    """Return the mounts that the text of `mounts add` lists: an array. Raises SpecError."""
    # Read as the field of an object, on the same lines, since that is what errors are told by.
    node, document = node_of(f'{{"mounts": {text}}}', where)
    if not text.lstrip().startswith("[") or list(node.names()) != ["mounts"]:
        raise SpecError("expected an array of mounts", where=where, hint="write [{...}]")
    return tuple(map(_mount_of, node.children("mounts"))), document


def _root_of(node: Node) -> Root:
    root = node.child("root")
    if root is None:
        raise node.error("root", "required", 'write {"path": "rootfs"}')
    return Root(path=root.required_text("path"), readonly=root.flag("readonly"))


def _mount_of(node: Node) -> Mount:
    destination = node.required_text("destination")
    return Mount(
        # config.md: a relative destination is one relative to "/".
        destination=destination if destination.startswith("/") else f"/{destination}",
        type=node.text("type"),
        source=node.text("source"),
        options=node.texts("options"),
        uid_mappings=mappings_of(node, "uidMappings"),
        gid_mappings=mappings_of(node, "gidMappings"),
    )


def _hooks_of(node: Node | None) -> Hooks:
    if node is None:
        return Hooks()
    return Hooks(
        prestart=_hook_list_of(node, "prestart"),
        create_runtime=_hook_list_of(node, "createRuntime"),
        create_container=_hook_list_of(node, "createContainer"),
        start_container=_hook_list_of(node, "startContainer"),
        poststart=_hook_list_of(node, "poststart"),
        poststop=_hook_list_of(node, "poststop"),
    )


def _hook_list_of(node: Node, key: str) -> tuple[Hook, ...]:
    return tuple(
        Hook(
            path=hook.required_text("path"),
            args=hook.texts("args"),
            env=hook.texts("env"),
            timeout=hook.optional_integer("timeout", (1, INT64[1])),
        )
        for hook in node.children(key)
    )
