"""argv -> one command -> an exit code. Every error is reported here, once."""

from __future__ import annotations

import errno
import os
import sys

import click

import aisbx_runtime
from aisbx_runtime.sandbox.cli import table
from aisbx_runtime.sandbox.cli.call import Call, common_options
from aisbx_runtime.sandbox.cli.output import Output
from aisbx_runtime.sandbox.errors import HostError, InputError, SandboxError

PROGRAM = "aisbx"
USAGE_CODE = 2


class Listed(click.Group):
    """A group whose commands are those of the table, imported when they are called."""

    def __init__(self, words: str, text: str) -> None:
        super().__init__(
            name=words or PROGRAM, help=text, params=common_options(), no_args_is_help=False
        )
        self.words = words

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help where nothing is asked for: newer clicks call that an error."""
        if not args:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        del ctx
        return table.names_in(self.words)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or make a group."""
        del ctx
        words = f"{self.words} {cmd_name}".strip()
        if words in table.GROUPS:
            text = table.GROUPS[words]
            return Listed(words, f"{text[0].upper()}{text[1:]}.")
        if words not in table.COMMANDS:
            return None
        name = f"aisbx_runtime.sandbox.cli.{table.COMMANDS[words][0]}"
        __import__(name)
        found: click.Command = sys.modules[name].command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' lines of help, which the table has: nothing is imported."""
        rows = [
            (name, table.help_of(f"{self.words} {name}".strip()))
            for name in self.list_commands(ctx)
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def program() -> click.Group:
    """Return the whole program as click sees it."""
    made = Listed("", "Sandboxes from OCI images, on aisbx-runtime.")
    version = click.version_option(
        aisbx_runtime.__version__, prog_name=PROGRAM, message="%(prog)s version %(version)s"
    )
    made.params += version(click.Command("")).params
    return made


def main(words: list[str], call: Call) -> int:
    """Carry out one call; return the exit code."""
    try:
        code = program().main(words, prog_name=PROGRAM, standalone_mode=False, obj=call)
        sys.stdout.flush()
    except SandboxError as error:
        failure = error
    except click.ClickException as error:
        failure = _usage_error(error, call)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever reads us has had enough; the interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
        return 1
    except OSError as error:
        failure = HostError(
            "an unforeseen system error",
            where=str(error.filename or ""),
            why=errno.errorcode.get(error.errno or 0, type(error).__name__),
        )
    else:
        return code if isinstance(code, int) else 0
    # An option that click could not read has hidden the others from it.
    as_json = call.json or "--json" in words[: words.index("--") if "--" in words else None]
    Output(as_json=as_json).error(call.command, failure)
    return failure.exit_code


def _usage_error(error: click.ClickException, call: Call) -> SandboxError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = ""
    if context is not None:
        call.command = context.command_path.removeprefix(PROGRAM).strip()
        hint = f"see {context.command_path} --help"
    text = error.format_message().rstrip(".")
    return InputError(f"{text[:1].lower()}{text[1:]}", hint=hint, exit_code=USAGE_CODE)
