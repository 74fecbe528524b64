"""Damaged settings files, for commands that only look up their settings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.fuzz.mutations import mutate
from tests.fuzz.running import run_main

_SETTINGS = b"""\
steps = 20
guidance = 3.5
quiet = true
scheduler = ["ddim", "euler"]
[batch]
batch-size = 4
seed = "1..4"
[profile.night]
steps = 50
[profile.night.generate]
count = 2
"""
_COMMANDS = (
    ["schedulers", "list", "--json"],
    ["generate", "--help"],
    ["--profile", "night", "schedulers", "list"],
    ["batch", "prompts.txt", "--dry-run"],
    ["--profile", "night", "batch", "prompts.txt", "--dry-run", "--json"],
)


def cases(seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the name and the function of each case; the same seed gives the same ones."""
    choose = random.Random(seed)
    for number in range(count):
        data = mutate(choose, _SETTINGS)
        argv = choose.choice(_COMMANDS)
        yield f"{number}: {' '.join(argv)}", partial(_run, data, argv)


def _run(data: bytes, argv: list[str]) -> None:
    Path("sdcli.toml").write_bytes(data)
    Path("prompts.txt").write_text("a cat\n")
    run_main(argv)
