"""The command table, and `main`: where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import sdcli
from sdcli.commands.batch import batch
from sdcli.commands.doctor import doctor
from sdcli.commands.generate import generate
from sdcli.commands.inspect import inspect
from sdcli.commands.values import Verb, Verbs
from sdcli.errors import ExitCode, Interrupted, SdcliError, UsageError


class Root(Verbs):
    """Ends a run whose reader went away, or that was interrupted, before typer would in its way."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return ExitCode.CLOSED_PIPE
        except KeyboardInterrupt:
            raise Interrupted("interrupted", code="interrupted") from None


app = typer.Typer(
    name="sdcli",
    cls=Root,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (generate, batch, inspect, doctor):
    app.command(cls=Verb)(verb)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"sdcli {sdcli.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Stable Diffusion on the command line, with a small model built in.

    \b
    Examples:
      sdcli generate "a cat and a guitar on a blue background"
      sdcli batch prompts/demo.txt --dry-run
      sdcli inspect outputs/0001-a-cat-and-a-guitar.png
      sdcli doctor
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; only bugs leave as exceptions."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = app(args=arguments, prog_name="sdcli", standalone_mode=False)
    except typer.TyperException as error:
        code = _report(_usage_error(error), arguments)
    except SdcliError as error:
        code = _report(error, arguments)
    except SystemExit as done:  # how typer ends what it does for the shell's completion
        code = done.code
    _leave_stdout_flushed()
    return int(code or ExitCode.OK)


def _leave_stdout_flushed() -> None:
    """What a closed or full stdout did not take goes nowhere, or the interpreter would complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage_error(error: typer.TyperException) -> UsageError:
    """Typer's complaint as ours: one line, and what to type next."""
    near = getattr(error, "possibilities", None)
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "sdcli"
    message = (error.message if near else error.format_message()).rstrip(".")
    return UsageError(
        message[:1].lower() + message[1:],
        code="usage.argument",
        hint=f"did you mean {' or '.join(sorted(near))}?" if near else f"{command} --help",
    )


def _report(error: SdcliError, arguments: Sequence[str]) -> ExitCode:
    if "--json" in arguments or "--jsonl" in arguments:
        from sdcli.output import events

        events.emit(events.error_document(error))
    else:
        from sdcli.output.console import Console

        Console().error(error)
    return error.exit_code
