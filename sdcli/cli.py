"""The command table, and `main`: where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

import sdcli
from sdcli import config
from sdcli.commands import vae
from sdcli.commands.batch import batch
from sdcli.commands.bench import bench
from sdcli.commands.doctor import doctor
from sdcli.commands.generate import generate
from sdcli.commands.inspect import inspect
from sdcli.commands.latents import app as latents
from sdcli.commands.replay import replay
from sdcli.commands.schedulers import schedulers
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
for verb in (generate, batch, replay, inspect, bench, doctor):
    app.command(cls=Verb)(verb)
app.add_typer(latents)
app.add_typer(vae.app, name="vae")
app.add_typer(schedulers)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"sdcli {sdcli.__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", help="Take the settings of [profile.NAME] in sdcli.toml.", metavar="NAME"
        ),
    ] = None,
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

    Defaults of options can stand in sdcli.toml, here or in ~/.config/sdcli, and in variables like
    SDCLI_STEPS; what is typed wins.
    """
    context.obj = Settings(context.command, profile or os.environ.get("SDCLI_PROFILE"))
    context.default_map = context.obj.default_map()


class Settings:
    """The settings that hold in this folder, by command, and where each is from."""

    def __init__(self, group: Any, profile: str | None) -> None:
        self._verbs = dict(_verbs(group))
        options = {path: frozenset(params) for path, params in self._verbs.items()}
        self.found = config.settings(options, profile)

    def of(self, command: str) -> dict[str, config.Setting]:
        """The settings of one command by option."""
        return config.of_command(self.found, command, frozenset(self._verbs[command]))

    def default_map(self) -> dict[str, Any]:
        """Defaults as typer takes them: by command, and a group's commands inside its own."""
        found: dict[str, Any] = {}
        for path, params in self._verbs.items():
            inner = found
            for name in path.split():
                inner = inner.setdefault(name, {})
            for option, setting in self.of(path).items():
                inner[option] = _as_typed(setting, params[option])
        return found


def _verbs(group: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every command's path and its options."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _verbs(command, f"{path}{name} ")
        else:
            options = {p.name: p for p in command.params if p.param_type_name == "option"}
            yield f"{path}{name}", options


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _as_typed(setting: config.Setting, param: Any) -> Any:
    """A value as the command line would have brought it."""
    value = setting.value
    if param.is_flag:
        if (known := _BOOLEANS.get(str(value).lower())) is not None:
            return known
        raise UsageError(
            f"{setting.source}: {setting.option}: {value!r} is not true or false",
            code="usage.config",
        )
    if isinstance(value, list):
        return [str(item) for item in value]
    return str(value)


def _where_set(context: Any, param: Any) -> str | None:
    """Where a setting came from that was not typed."""
    if context is None or param is None or not isinstance(context.find_root().obj, Settings):
        return None
    source = context.get_parameter_source(param.name)
    if source is None or source.name != "DEFAULT_MAP":
        return None
    path = context.command_path.partition(" ")[2]
    found: str = context.find_root().obj.of(path)[param.name].source
    return found


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
    message = message[:1].lower() + message[1:]
    if source := _where_set(context, getattr(error, "param", None)):
        message = f"{source}: {message}"
    return UsageError(
        message,
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
