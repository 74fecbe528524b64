"""The import rules of the house, kept by reading the source.

Vocabulary speaks only vocabulary. Commands know the vocabulary and typer; run, engine and output
they import where they use them. Engine and output never know each other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "sdcli"
FILES = sorted(path for path in ROOT.rglob("*.py"))
VOCABULARY = {
    "asking",
    "catalog",
    "config",
    "dump",
    "errors",
    "plan",
    "prompts",
    "reading",
    "request",
    "result",
    "sweep",
    "watching",
}
HEAVY = {"torch", "diffusers", "transformers", "accelerate"}
DRAWERS = {"utils", "helpers", "common", "base", "types", "misc"}


def room(path: Path) -> str:
    """The first name under sdcli: a folder or a module."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module of a file, with whether it is imported when the file is."""
    tree = ast.parse(path.read_text("utf-8"))
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


def own(name: str) -> str | None:
    """The room that an import of ours names."""
    parts = name.split(".")
    return parts[1] if parts[0] == "sdcli" and len(parts) > 1 else None


def each_import(*rooms: str) -> Iterator[tuple[Path, str, bool]]:
    for path in FILES:
        if room(path) in rooms:
            yield from ((path, name, eager) for name, eager in imports(path))


def test_the_walk_sees_the_house() -> None:
    assert {"cli", "run", "engine", "output", "commands"} | VOCABULARY <= set(map(room, FILES))
    assert any(name.startswith("torch") for _, name, _ in each_import("engine"))


def test_vocabulary_imports_vocabulary_and_the_standard_library() -> None:
    import sys

    for path, name, eager in each_import(*VOCABULARY):
        if own(name):
            assert own(name) in VOCABULARY, f"{path} imports {name}"
        elif eager:
            assert name.split(".")[0] in sys.stdlib_module_names, f"{path} imports {name}"


def test_commands_import_the_rest_only_where_they_use_it() -> None:
    for path, name, eager in each_import("commands"):
        if eager and own(name):
            assert own(name) in VOCABULARY | {"commands"}, f"{path} imports {name}"


def test_engine_and_output_do_not_know_each_other() -> None:
    for here, there in (("engine", "output"), ("output", "engine")):
        for path, name, _ in each_import(here):
            assert own(name) in VOCABULARY | {here, None}, f"{path} imports {name}, not {there}"


def test_torch_lives_in_the_engine_and_in_training() -> None:
    for path in FILES:
        for name, _ in imports(path):
            if name.split(".")[0] in HEAVY:
                assert room(path) in ("engine", "training"), f"{path} imports {name}"


def test_typer_lives_in_the_command_line_and_click_nowhere() -> None:
    for path in FILES:
        for name, _ in imports(path):
            assert name.split(".")[0] != "click", path
            if name.split(".")[0] == "typer":
                assert room(path) in ("cli", "commands"), f"{path} imports {name}"


def test_nothing_imports_training() -> None:
    for path in FILES:
        if room(path) != "training":
            assert all(own(name) != "training" for name, _ in imports(path)), path


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    assert not [path for path in FILES if path.stem in DRAWERS]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path
