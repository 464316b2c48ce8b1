"""Hooks as steps: when they run. How one is run lives in `oci.hooks`."""

from __future__ import annotations

from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Hook


@record
class RunHooks:
    """Run the hooks of one kind, in order; the first that fails ends create."""

    kind: str
    hooks: tuple[Hook, ...]
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"run {self.kind} hooks: {', '.join([hook.path for hook in self.hooks])}"

    def apply(self, at: World) -> None:
        """Run them in the namespaces of the process that carries out this phase."""
        at.run_hooks(self.kind, self.hooks)


def steps(kind: str, hooks: tuple[Hook, ...]) -> list[Step]:
    """Return one step for all hooks of a kind, or none. `kind` is the name in config.json."""
    return [RunHooks(kind, hooks, f"hooks.{kind}")] if hooks else []
