"""Check the import rules of the package, by reading the source."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

import pytest

from tests.figures import count as count_source

ROOT = Path(__file__).parent.parent / "sdcli"
FILES = sorted(ROOT.rglob("*.py"))

LAYERS = (
    {"cli"},
    {"commands", "library"},
    {"workflows", "server", "distributed", "bench"},
    {"runner"},
    {"terminal", "interop"},
    {"storage", "engine"},
    {"planning"},
    {"prompts", "checkpoints"},
    {"latents", "trace", "guided_calls"},
    {"result"},
    {"job"},
    {"request"},
    {"fields"},
    {"pipeline_spec"},
    {"config", "attention", "story"},
    {
        "catalog",
        "numerics",
        "run_flags",
        "shard",
        "full_calls",
        "field_validation",
        "row",
        "name_template",
        "input_images",
        "job_id",
        "settings_key",
        "listed_files",
        "lora_training",
    },
    {"inputs", "archive_flags", "cluster_flags"},
    {"errors", "versions", "field_metadata", "signals", "docs"},
)
"""Top to bottom. A room may import rooms of the rows below its own, and itself."""

OUTSIDE = {"__init__", "__main__", "worker_process", "training"}
"""Entry points and tools, which no room imports and which may import any."""

HEAVY = {"torch", "diffusers", "transformers", "accelerate"}
LIBRARIES = {
    **{package: {"engine", "training"} for package in HEAVY},
    "PIL": {"storage", "training"},
    "imagehash": {"storage"},
    "peft": {"engine"},
    "jinja2": {"storage"},
    "huggingface_hub": {"checkpoints", "engine"},
    "typer": {"cli", "commands"},
    "ray": {"distributed"},
    "openvino": {"engine"},
    "click": set(),
}
"""Third-party packages, and the only rooms that may import each."""

BANNED_MODULES = {
    "utils", "helpers", "common", "base", "types", "misc", "core", "io",
    "asked", "said", "told", "meant", "given", "taken", "found", "shown", "look",
    "again", "beside", "elsewhere", "stranger", "likeness", "ways",
}  # fmt: skip
BANNED_NAMES = BANNED_MODULES - {"types", "base"}
RIDDLES = {"What", "Where", "Who", "How", "Which", "From", "When", "Whether"}

EXCEPTIONS: frozenset[tuple[str, str]] = frozenset()
"""Imports that break the table, as (file, imported room)."""


def room(path: Path) -> str:
    """The name directly under sdcli: a folder or a module."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module of a file, and whether it is imported together with the file."""
    tree = tree_of(path)
    at_import = set(map(id, _module_level(tree)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, id(node) in at_import) for name in names)


def _module_level(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes outside of functions and of `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _module_level(node)


def imported_room(name: str) -> str | None:
    """The room that an import of ours names, None for other packages."""
    parts = name.split(".")
    return parts[1] if parts[0] == "sdcli" and len(parts) > 1 else None


def layer(name: str) -> int:
    [index] = [index for index, rooms in enumerate(LAYERS) if name in rooms]
    return index


def violations() -> set[tuple[str, str]]:
    """Imports that do not run downwards, in functions and for type checkers, too."""
    found = set()
    for path in FILES:
        here = room(path)
        if here in OUTSIDE:
            continue
        for name, _ in imports(path):
            there = imported_room(name)
            if there in (None, here, "__version__"):
                continue
            if there in OUTSIDE or layer(there) <= layer(here):
                found.add((str(path.relative_to(ROOT)), there))
    return found


def test_every_room_has_a_layer() -> None:
    rooms = set(map(room, FILES)) - OUTSIDE
    assert rooms <= set().union(*LAYERS)
    assert {"cli", "runner", "engine", "storage"} <= rooms


def test_imports_run_downwards() -> None:
    assert violations() == EXCEPTIONS


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    """Only imports that run with the module count; a lazy one cannot break a start."""
    names = {
        ".".join(("sdcli", *path.relative_to(ROOT).with_suffix("").parts)): path for path in FILES
    }
    graph = defaultdict(set)
    for name, path in names.items():
        for imported, eager in imports(path):
            target = imported if imported in names else imported.rpartition(".")[0]
            if eager and target in names and target != name:
                graph[name].add(target)
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name not in done:
            for target in graph[name]:
                visit(target, (*way, name))
            done.add(name)

    for name in names:
        visit(name, ())


def test_libraries_live_in_their_rooms() -> None:
    for path in FILES:
        for name, _ in imports(path):
            package = name.split(".")[0]
            assert room(path) in LIBRARIES.get(package, {room(path)}), f"{path} imports {name}"


def test_only_the_shard_reader_asks_for_ranks() -> None:
    names = {"RANK", "WORLD_SIZE", "LOCAL_RANK"}
    readers = [
        path
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert set(readers) == {ROOT / "shard.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_a_standard_name_and_a_plain_first_line(path: Path) -> None:
    assert path.stem not in BANNED_MODULES
    docstring = ast.get_docstring(tree_of(path))
    assert docstring, "no docstring"
    assert docstring.split()[0].strip(",:") not in RIDDLES, docstring.splitlines()[0]


def test_definitions_have_standard_names() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = [
        (path, node.name)
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, kinds)
    ]
    assert not [(str(path), name) for path, name in names if name.lower() in BANNED_NAMES]


def test_functions_are_short_and_files_are_small() -> None:
    figures = count_source()
    assert median(figures.lengths.values()) <= 8
    assert figures.percentile(90) <= 22
    assert {name: n for name, n in figures.lengths.items() if n > 50} == {}
    assert {name: n for name, n in figures.files.items() if n > 300} == {}
    assert {name: n for name, n in figures.parameters.items() if n > 12} == {}


def test_comments_say_why_often_enough() -> None:
    assert 2 <= count_source().comments_per_100 <= 5
