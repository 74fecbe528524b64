"""Tell from a command line and the settings whether a command is to run in the warm worker.

Neither typer nor a command is imported: a warm run is over before they would be loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

from sdcli.inputs.switches import read_switch
from sdcli.shard import is_launched

WARM_COMMANDS: Final = frozenset(
    {
        "generate",
        "batch",
        "replay",
        "attention",
        "explain",
        "score",
        "schedulers compare",
        "vae encode",
        "vae decode",
        "vae compare",
        "latents blend",
        "latents decode",
        "latents preview",
        "latents animate",
        "latents grid",
        "latents noise",
        "latents resume",
    }
)
"""The commands that have --warm: those that load a model."""

WARM_FLAG: Final = "--warm"
COLD_FLAG: Final = "--no-warm"
_GROUPS: Final = frozenset(name.split()[0] for name in WARM_COMMANDS if " " in name)
# Runs that start processes of their own, which load the models.
_OWN_PROCESSES: Final = ("workers", "gpus", "ray")
_MAY_START_PROCESSES: Final = "batch"
# What only exists for the process that names it.
_OWN_FILES: Final = ("/dev/fd/", "/proc/self/", "/proc/thread-self/")


def wants_worker(arguments: Sequence[str]) -> bool:
    """Whether the worker is asked for, by --warm, SDCLI_WARM or a setting, and can do it."""
    command, profile = _find_command(arguments)
    if command not in WARM_COMMANDS or {"--help", "-h"} & set(arguments):
        return False
    if any(part in argument for argument in arguments for part in _OWN_FILES):
        return False
    profile = profile or os.environ.get("SDCLI_PROFILE")
    return _is_asked_for(arguments, command, profile) and not _has_processes(
        arguments, command, profile
    )


def is_quiet(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for errors only."""
    return not {"-q", "--quiet"}.isdisjoint(_options(arguments))


def _is_asked_for(arguments: Sequence[str], command: str, profile: str | None) -> bool:
    typed = [word for word in _options(arguments) if word in (WARM_FLAG, COLD_FLAG)]
    if typed:
        return typed[-1] == WARM_FLAG
    return read_switch(_find_setting("warm", command, profile)) is True


def _has_processes(arguments: Sequence[str], command: str, profile: str | None) -> bool:
    """Whether the run starts processes, or is one of several that a launcher started."""
    if is_launched():
        return True
    if command != _MAY_START_PROCESSES:
        return False
    typed = {option.partition("=")[0] for option in _options(arguments)}
    return any(
        f"--{name}" in typed or _find_setting(name, command, profile) is not None
        for name in _OWN_PROCESSES
    )


def _find_setting(option: str, command: str, profile: str | None) -> object:
    """Return the value of a variable or of a file, None without one."""
    if (value := os.environ.get(f"SDCLI_{option.upper()}")) is not None:
        return value
    from sdcli import config

    return config.find_in_files(option, command, profile)


def _options(arguments: Sequence[str]) -> Iterator[str]:
    for argument in arguments:
        if argument == "--":
            return
        yield argument


def _find_command(arguments: Sequence[str]) -> tuple[str, str | None]:
    """Return the path of the command, "" for anything unusual, and the profile."""
    words, profile = list(arguments), None
    while words and words[0].startswith("-"):
        name, equals, value = words.pop(0).partition("=")
        if name != "--profile" or not (equals or words):
            return "", None
        profile = value if equals else words.pop(0)
    count = 2 if words and words[0] in _GROUPS else 1
    return " ".join(words[:count]), profile
