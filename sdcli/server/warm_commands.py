"""Tell from a command line and the settings whether a command is to run in the warm worker.

Neither typer nor a command is imported: a warm run is over before they would be loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

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

VARIABLE: Final = "SDCLI_WARM"
WARM_FLAG: Final = "--warm"
COLD_FLAG: Final = "--no-warm"
_WORDS: Final = {"true": True, "yes": True, "1": True}
_GROUPS: Final = frozenset(name.split()[0] for name in WARM_COMMANDS if " " in name)
# Runs that start processes of their own, which load the models.
_OWN_PROCESSES: Final = ("--workers", "--gpus", "--ray")
# What only exists for the process that names it.
_OWN_FILES: Final = ("/dev/fd/", "/proc/self/", "/proc/thread-self/")


def wants_worker(arguments: Sequence[str]) -> bool:
    """Whether the worker is asked for, by --warm, SDCLI_WARM or a setting, and can do it."""
    command, profile = _find_command(arguments)
    if command not in WARM_COMMANDS or {"--help", "-h"} & set(arguments):
        return False
    if any(part in argument for argument in arguments for part in _OWN_FILES):
        return False
    options = list(_options(arguments))
    if any(option.partition("=")[0] in _OWN_PROCESSES for option in options):
        return False
    typed = [word for word in options if word in (WARM_FLAG, COLD_FLAG)]
    if typed:
        return typed[-1] == WARM_FLAG
    if (value := os.environ.get(VARIABLE)) is not None:
        return _WORDS.get(value.lower(), False)
    from sdcli import config

    return config.is_switched_on("warm", command, profile or os.environ.get("SDCLI_PROFILE"))


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
