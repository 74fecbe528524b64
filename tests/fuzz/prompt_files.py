"""Damaged prompt files of all formats, and damaged wildcard lists, in dry runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.fuzz.mutations import mutate
from tests.fuzz.running import run_main
from tests.prompts.prompt_files import FORMATS, WRITERS

_ROWS: list[dict[str, object]] = [
    {"prompt": "a cat", "negative_prompt": "a dog", "seed": 3, "width": 64},
    {"prompt": "a {red|blue} star, price $5", "num_inference_steps": 4, "guidance_scale": 2.5},
    {"prompt": "ein Äpfelchen __color__", "scheduler": "DPM++ 2M Karras", "offline": True},
    {"prompt": "a fish", "eta": 0.5, "seed": 7},
]
_EXTRA_OPTIONS: list[list[str]] = [
    [],
    [],
    ["--json"],
    ["--jsonl"],
    ["--keep-going"],
    ["--null"],
    ["--wildcards", "lists"],
    ["--wildcards", "lists", "--wildcard-mode", "all"],
    ["--wildcard-mode", "random", "--seed", "1"],
    ["--steps", "1,2", "--seed", "1..3"],
    ["--replace", "cat=dog,fox"],
]


def cases(seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the name and the function of each case; the same seed gives the same ones."""
    choose = random.Random(seed)
    for number in range(count):
        form = choose.choice(FORMATS)
        rows = choose.sample(_ROWS, choose.randint(1, len(_ROWS)))
        data = mutate(choose, WRITERS[form](rows).encode())
        lists = mutate(choose, b"red\nblue # no\n{dark|light} green\n")
        options = choose.choice(_EXTRA_OPTIONS)
        name = f"{number}: .{form} {' '.join(options)}"
        yield name, partial(_dry_run, form, data, lists, options)


def _dry_run(form: str, data: bytes, lists: bytes, options: list[str]) -> None:
    Path(f"prompts.{form}").write_bytes(data)
    Path("lists").mkdir()
    Path("lists", "color.txt").write_bytes(lists)
    run_main(["batch", f"prompts.{form}", "--dry-run", *options])
