"""The table of commands, and `main`, which turns errors into messages and exit codes."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from threading import current_thread, main_thread
from typing import Annotated, Any, Final

import typer

import sdcli
from sdcli import signals
from sdcli.commands.options.config_defaults import ConfigDefaults
from sdcli.commands.options.converters import PlainCommand, PlainGroup
from sdcli.commands.options.warm_option import add_warm_option
from sdcli.errors import ExitCode, Interrupted, OutputError, SdcliError, UsageError

COMMANDS: Final = {
    "generate": "Generate images from prompts and print their paths.",
    "batch": "Generate every prompt of a file, and resume where an earlier run stopped.",
    "merge": "Copy the images of several batch folders into one, and tell which are missing.",
    "replay": "Regenerate images from their embedded metadata.",
    "inspect": "Show the metadata of an image, latents, a file of weights or a model.",
    "tokens": "Show the tokens of a prompt, their weights and what is cut off.",
    "schedulers": "List, show and compare schedulers.",
    "vae": "List, show and compare VAEs; encode images and decode latents.",
    "models": "List, download, check, convert and delete models.",
    "attention": "Show which word of a prompt made which part of the image.",
    "explain": "Explain how an image is made from noise, with numbers measured in its own run.",
    "latents": "Inspect, compare and resume from saved latents.",
    "train-lora": "Train a LoRA on a folder of images with captions.",
    "gallery": "Show a folder of images as one HTML page, to filter, compare and rate them.",
    "score": "Measure images: sharpness, duplicates, and whether they show what the prompt says.",
    "pick": "Print, copy or link the best images of a folder.",
    "worker": "Show or stop the background process that --warm starts.",
    "bench": "Time sdcli against plain Diffusers scripts and diffusers-cli.",
    "doctor": "Check the installation and show which device and settings would be used.",
    "demo-files": "Write the example prompt files, one in each format, to a folder.",
    "help": "Show the manual: a list of topics, one of them, or the lines that contain a word.",
}
"""Each command is a function in the module of the same name in `sdcli.commands`, with "_" for "-".
A group of commands is the module's `app`. The module is imported when its command is used."""


class _LazyCommands(Mapping[str, Any]):
    """The commands by name, each imported on first use."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return _load_command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@cache
def _load_command(name: str) -> Any:
    identifier = name.replace("-", "_")
    module = import_module(f"sdcli.commands.{identifier}")
    group = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(add_completion=False, rich_markup_mode=None)
        group.command(name, cls=PlainCommand)(getattr(module, identifier))
    command = typer.main.get_command(group)
    command.name = name
    add_warm_option(command, name)
    return command


class RootGroup(PlainGroup):
    """The root command. It handles a closed pipe and Ctrl-C before typer does."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _LazyCommands()  # type: ignore[assignment]  # which is only read

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _interrupt_as_error():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        with _interrupt_as_error():
            try:
                return super().invoke(ctx)
            except BrokenPipeError:
                return ExitCode.CLOSED_PIPE


@contextmanager
def _interrupt_as_error() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", code="interrupted") from None


app = typer.Typer(
    name="sdcli",
    cls=RootGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        from sdcli.terminal.output import print_data

        print_data(f"sdcli {sdcli.__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", help="Use the settings of [profile.NAME] in sdcli.toml.", metavar="NAME"
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
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

    Option defaults can be set in sdcli.toml, in the current folder or ~/.config/sdcli, and in
    environment variables such as SDCLI_STEPS. The command line takes precedence.
    """
    context.obj = ConfigDefaults(context.command, profile or os.environ.get("SDCLI_PROFILE"))
    context.default_map = context.obj.default_map()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. Only bugs are raised as exceptions."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    open_streams()
    if signals.IS_PROGRAM:
        # The message of a bug may hold what a file says.
        sys.excepthook = _print_traceback
    # Otherwise the interpreter's last collection walks every object of torch and Diffusers: 0.8 s.
    atexit.register(gc.freeze)
    if current_thread() is not main_thread():
        return _run(arguments)
    signals.install()
    try:
        return _run_interruptibly(arguments)
    finally:
        # A program has its exit code from here on: a signal must not change it.
        (signals.ignore if signals.IS_PROGRAM else signals.restore)()


def _print_traceback(*exception: Any) -> None:
    # Imported here, because every command starts with this module.
    from sdcli.terminal.output import print_traceback

    print_traceback(*exception)


def _run_interruptibly(arguments: Sequence[str]) -> int:
    """Run the command line; whatever an interrupt became on its way here is one line."""
    try:
        signals.start()
        return _run(arguments)
    except BaseException:
        if not signals.was_interrupted():
            raise
        signals.ignore()
        return int(report_error(Interrupted("interrupted", code="interrupted"), arguments))


def _run(arguments: Sequence[str]) -> int:
    try:
        code = app(args=arguments, prog_name="sdcli", standalone_mode=False)
    except typer.TyperException as error:
        code = report_error(_to_usage_error(error, arguments), arguments)
    except SdcliError as error:
        code = report_error(error, arguments)
    except OSError as error:
        code = report_error(_path_error(error), arguments)
    except SystemExit as finished:  # how typer ends shell completion
        code = finished.code
    _flush_streams()
    return int(code or ExitCode.OK)


def open_streams() -> None:
    """Replace standard streams that the parent closed, and let them print any text."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if stream.errors == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


_PATH_ERRNOS: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EIO})
_BUGS: Final = frozenset({None, errno.ENOENT, errno.EEXIST, errno.EBADF, errno.EINVAL})
"""Errors that no state of a disk explains: a file that should exist, a closed descriptor."""


def _path_error(error: OSError) -> SdcliError:
    """The error of a path that the system cannot use, or of a full stdout."""
    if error.errno == errno.ENOSPC and error.filename is None:
        return OutputError(f"stdout: {error.strerror}", code="output.full")
    if error.errno in _BUGS or (error.filename is None and error.errno not in _PATH_ERRNOS):
        raise error
    name = str(error.filename or "a path")
    short = name if len(name) <= 60 else f"{name[:40]}…{name[-16:]}"
    return UsageError(f"{short}: {error.strerror}", code="usage.path", hint="give another path")


def _flush_streams() -> None:
    """Flush stdout and stderr, and drop what a closed or full one did not take."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # The interpreter flushes once more at its exit: a traceback, or the exit code 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _to_usage_error(error: typer.TyperException, arguments: Sequence[str]) -> UsageError:
    # Only a command line with a mistake needs the table of other tools' words.
    from sdcli.commands.options.usage_hints import to_usage_error

    return to_usage_error(error, arguments)


def _typed_command(arguments: Sequence[str]) -> str:
    """The command that was typed, such as "sdcli latents grid"."""
    words, names = ["sdcli"], frozenset(COMMANDS)
    for word in arguments:
        if word in names:
            words.append(word)
            names = (
                frozenset(getattr(_load_command(word), "commands", ()))
                if len(words) == 2
                else frozenset()
            )
        elif len(words) > 1 and not word.startswith("-"):
            break
    return " ".join(words)


def _print_document(error: SdcliError) -> bool:
    """Print an error as JSON; returns whether stdout took it, whose fault may be the error."""
    from sdcli.terminal.json_output import error_document, print_json_line

    with suppress(OutputError, BrokenPipeError):
        print_json_line(error_document(error))
        return True
    return False


def report_error(error: SdcliError, arguments: Sequence[str]) -> ExitCode:
    if signals.was_interrupted() and not isinstance(error, Interrupted):
        # A library has turned the interrupt into an error of its own.
        error = Interrupted("interrupted", code="interrupted")
    if type(error) is UsageError and error.code.startswith("usage.") and not error.hint:
        hint = f"{_typed_command(arguments)} --help"
        error = UsageError(error.message, code=error.code, hint=hint)
    if not ({"--json", "--jsonl"}.intersection(arguments) and _print_document(error)):
        from sdcli.terminal.console import Console

        with suppress(BrokenPipeError):
            Console().error(error)
    return error.exit_code
