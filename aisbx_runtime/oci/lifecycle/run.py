"""run: create and start; in front, wait for the end and delete."""

from __future__ import annotations

from aisbx_runtime.oci import report
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, UsageError
from aisbx_runtime.oci.lifecycle import attempt, foreground
from aisbx_runtime.oci.lifecycle.create import create, request_of
from aisbx_runtime.oci.lifecycle.delete import destroy
from aisbx_runtime.oci.lifecycle.start import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.container import Container


def main(call: Call) -> int:
    """Run a container; return the exit code of its process, or 0 when detached."""
    values = call.values
    detach = values.flag("detach")
    container_id, bundle = _subject(values.words[0], values.optional("bundle"))
    request = request_of(call, container_id, bundle, in_front=not detach)
    container, at = create(request, call)
    if not detach:
        # Before the program can say that it is there: whoever reads that may signal us at once.
        foreground.forward_signals(at.pidfd)
    try:
        if request.relay is not None:
            request.relay.receive()
        start(container)
    except BaseException as error:
        try:
            destroy(container, container.facts())
        except (OSError, Failure) as second:
            attempt.note_leftover(error, container.path, second)
        raise
    container.unlock()
    if detach:
        return 0
    code = foreground.wait(at.pidfd, request.relay)
    if not values.flag("keep"):
        _delete(container, call)
    return code


def _subject(word: str, bundle: str | None) -> tuple[str, str | None]:
    """Return id and bundle: `run ID [--bundle DIR]`, or for people `run BUNDLE/`."""
    if "/" not in word:
        return word, bundle
    if bundle is not None:
        raise UsageError(f"invalid container id {word!r}", hint="an id has no slash")
    return f"run-{os.urandom(6).hex()}", word


def _delete(container: Container, call: Call) -> None:
    from aisbx_runtime.oci.errors import StateError

    try:
        container.lock()
    except StateError:
        # Somebody has deleted it meanwhile: `kill` and `delete` by another.
        return
    for sentence in destroy(container, container.facts()):
        report.warning(call.options, sentence)
