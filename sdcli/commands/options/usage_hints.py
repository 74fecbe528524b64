"""Hints for wrong options and commands. Only imported once there is an error."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePath
from typing import Any, Final

import typer

from sdcli.catalog.synonyms import Synonym, find_command, find_option, option_key
from sdcli.commands.options.config_defaults import setting_source
from sdcli.errors import UsageError, closest, quoted
from sdcli.field_metadata import field_infos
from sdcli.inputs.image_suffixes import IMAGE_SUFFIXES
from sdcli.inputs.typed_quotes import quote_words
from sdcli.pipeline_spec import PipelineSpec
from sdcli.prompts.formats import EXTENSIONS
from sdcli.request import SIZE_INFO, GenerationRequest
from sdcli.run_flags import RUN_FLAGS

_DASHES: Final = "–—−"
_WIDTHS, _HEIGHTS = frozenset({"width", "w", "-W"}), frozenset({"height", "h", "-H"})
_EXAMPLES: Final = {
    "generate": 'give a prompt in quotes: sdcli generate "a cat"; or - to read prompts from stdin',
    "batch": "give a prompt file: sdcli batch prompts.txt; or - to read stdin",
}


def argument_hint(command: str) -> str:
    """Return the hint for a missing argument of a command, such as "sdcli generate"."""
    example = _EXAMPLES.get(command.removeprefix("sdcli "))
    return f"{example}; see {command} --help" if example else f"{command} --help"


def _missing_option_hint(option: Any, command: str) -> str:
    """Return the hint for a required option: its help, which lists what it may be."""
    about = getattr(option, "help", None)
    if not about:
        return f"{command} --help"
    return f"{option.opts[0]} {option.metavar}: {about.rstrip('.')}; see {command} --help"


def option_hint(option: str, context: Any, arguments: Sequence[str]) -> str:
    """Return the hint for an option that the command of `context` does not have."""
    typed = _typed_option(option, arguments)
    path: str = context.command_path if context else "sdcli"
    own = _own_options(context)
    if (synonym := find_option(typed)) and typed not in own:
        return _synonym_hint(synonym, path, own, arguments)
    if path == "sdcli" and (ours := _any_option(typed)):
        return f'options follow the command: sdcli generate "a cat" {ours}'
    if f"{typed}s" not in own and (owners := _owners(typed, context)):
        return f"{typed} is an option of {_join(owners)}, not of {path}"
    # Without hyphens, which would make all short options look alike.
    names = (name.removeprefix("--") for name in own if name.startswith("--"))
    if near := closest(typed.lstrip("-"), names):
        return f"did you mean --{near}?"
    return f"{path} --help"


def unknown_command_error(word: str, context: Any, arguments: Sequence[str]) -> UsageError:
    """Return the error of a command that the group of `context` does not have."""
    path: str = context.command_path
    hint = _foreign_command_hint(word) if path == "sdcli" else None
    if not hint and (near := closest(word, context.command.commands)):
        hint = f"did you mean {path} {near}?"
    if not hint and path == "sdcli":
        hint = _quoting_hint(word, arguments) or _option_as_command_hint(word, context)
    return UsageError(
        f"no such command {quoted(word)}", code="usage.argument", hint=hint or f"{path} --help"
    )


def check_dashes(command: Any, arguments: Sequence[str]) -> None:
    """Raise UsageError for -steps and —steps where --steps is an option of the command.

    The parser would read them as -s teps, and as a prompt.
    """
    known = {option for param in command.params for option in param.opts}
    for argument in arguments:
        if argument == "--":
            return
        name = argument.lstrip(f"-{_DASHES}").partition("=")[0]
        dashes = argument[: len(argument.partition("=")[0]) - len(name)]
        if dashes in ("", "--") or f"--{name}" not in known:
            continue
        raise UsageError(
            f"no such option: {argument}",
            code="usage.argument",
            hint=f"it begins with two hyphens: --{name}",
        )


def _typed_option(option: str, arguments: Sequence[str]) -> str:
    """Return the whole word of an option: the parser reads -cfg as -c, and reports that."""
    if len(option) != 2:
        return option
    words = [w.partition("=")[0] for w in arguments if w.startswith(option) and len(w) > 3]
    return next((f"-{word}" for word in words if find_option(f"-{word}")), option)


def _own_options(context: Any) -> frozenset[str]:
    return _options_of(context.command) if context else frozenset()


def _options_of(command: Any) -> frozenset[str]:
    return frozenset(option for param in command.params for option in param.opts)


def _owners(option: str, context: Any) -> list[str]:
    """Return the commands that have an option: those that generate, and those of the same group."""
    if not context:
        return []
    root = context.find_root()
    commands: dict[str, Any] = {}
    # Looking a command up imports it, which takes time.
    if _any_option(option):
        commands |= {f"sdcli {name}": root.command.commands[name] for name in ("generate", "batch")}
    if context.parent and context.parent is not root:
        path = context.parent.command_path
        commands |= {f"{path} {name}": c for name, c in context.parent.command.commands.items()}
    return [path for path, command in commands.items() if option in _options_of(command)]


def _join(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _synonym_hint(
    synonym: Synonym, path: str, own: frozenset[str], arguments: Sequence[str]
) -> str:
    ours, note = synonym.ours, synonym.note
    if ours is None:
        return note or f"{path} --help"
    if ours == SIZE_INFO.flag and (size := _typed_size(arguments)):
        note = f"--size {size}"
    if not ours.startswith("--"):
        return f"use {note or f'sdcli {ours}'}"
    if ours not in own and f"{ours}s" in own:
        return f"sdcli calls it {ours}s"
    answer = f"sdcli calls it {ours}"
    if ours not in own and ours in arguments and path != "sdcli":
        return f"{path} does not have it; see {path} --help"
    if path == "sdcli":
        return f'{answer}; options follow the command: sdcli generate "a cat" {ours}'
    if ours not in own:
        return f"{answer}, which {path} does not have; see {path} --help"
    return f"{answer}: {note}" if note else answer


def _typed_size(arguments: Sequence[str]) -> str | None:
    """Return the size in --width 512 --height 768; a missing side is the same as the other."""
    sides: dict[str, str] = {}
    words = [part for argument in arguments for part in argument.split("=", 1)]
    for word, value in pairwise(words):
        key = option_key(word) if word.startswith("-") else ""
        name = "width" if key in _WIDTHS else "height" if key in _HEIGHTS else ""
        if name and re.fullmatch(r"[0-9]{1,5}", value):
            sides[name] = value
    if not sides:
        return None
    any_side = next(iter(sides.values()))
    return f"{sides.get('width', any_side)}x{sides.get('height', any_side)}"


def _any_option(option: str) -> str | None:
    """Return an option if any command that generates has it."""
    infos = field_infos(PipelineSpec, GenerationRequest, *RUN_FLAGS).values()
    flags = {flag for info in infos if not info.in_files_only for flag in info.flags}
    return option if option in flags | set(SIZE_INFO.flags) else None


def _foreign_command_hint(word: str) -> str | None:
    """Return the hint for a command of another tool."""
    if not (synonym := find_command(word)):
        return None
    answer = f"sdcli calls it {synonym.ours}"
    if synonym.note:
        return f"{answer}: {synonym.note}" if synonym.ours else synonym.note
    return answer


def _option_as_command_hint(word: str, context: Any) -> str | None:
    """Return the hint for an option in the place of a command, such as trace or preview."""
    if not (owners := _owners(f"--{word}", context)):
        return None
    return f"--{word} is an option of {_join(owners)}; see {owners[0]} --help"


def _quoting_hint(word: str, arguments: Sequence[str]) -> str | None:
    """Return the hint for a file or a prompt in the place of a command."""
    suffix = PurePath(word).suffix.lower()
    if suffix.removeprefix(".") in EXTENSIONS:
        return f"sdcli batch {shlex.quote(word)}"
    if suffix in IMAGE_SUFFIXES:
        return f"sdcli inspect {shlex.quote(word)}"
    if " " in word.strip():
        return f"sdcli generate {quote_words([word])}"
    rest = [argument for argument in arguments if not argument.startswith("-")]
    if len(rest) > 1 and " " not in "".join(rest):
        return f"to draw these words, quote them: sdcli generate {quote_words(rest)}"
    return None


def to_usage_error(error: typer.TyperException, arguments: Sequence[str]) -> UsageError:
    """Typer's error as a UsageError: one line, and a hint."""
    context = getattr(error, "ctx", None)
    is_option = hasattr(error, "possibilities")
    message = (error.message if is_option else error.format_message()).rstrip(".")
    message = message[:1].lower() + message[1:]
    if source := setting_source(context, getattr(error, "param", None)):
        message = f"{source}: {message}"
    hint = _usage_hint(error, context, message, arguments)
    return UsageError(message, code="usage.argument", hint=hint)


def _usage_hint(
    error: typer.TyperException, context: Any, message: str, arguments: Sequence[str]
) -> str | None:
    """Return the hint, or None for the help of the command that was typed."""
    if hasattr(error, "possibilities"):
        return option_hint(getattr(error, "option_name", ""), context, arguments)
    if not context:
        return None
    command: str = context.command_path
    if message.startswith("missing argument"):
        return argument_hint(command)
    if message.startswith("missing option"):
        return _missing_option_hint(getattr(error, "param", None), command)
    return f"{command} --help"
