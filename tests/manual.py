"""The generated parts of the manual and the README: `python -m tests.manual` writes them."""

from __future__ import annotations

import io
import os
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer

from sdcli import docs, errors
from sdcli.catalog.known_vaes import VAES
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.cli import COMMANDS, app, main
from sdcli.commands.doctor import _OPTIONAL
from sdcli.errors import ExitCode, SdcliError
from sdcli.field_metadata import FieldInfo
from sdcli.prompts.fields import SIZE
from sdcli.prompts.readers.txt import _SHORT_NAMES
from sdcli.request import FIELD_TYPES, REQUEST_FIELDS, SIZE_INFO

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
_PART = re.compile(r"^<!-- generated: (\S+) -->\n(.*?)^<!-- end -->\n", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every file with generated parts."""
    return [README, *sorted(docs.FOLDER.glob("*.md"))]


def parts(text: str) -> dict[str, str]:
    """The generated parts of a page, by name."""
    return dict(_PART.findall(text))


def commands() -> Iterator[str]:
    """Every command of the program as it is typed, without the groups."""

    def walk(group: Any, path: str) -> Iterator[str]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, f"{path}{name} ")
            else:
                yield f"{path}{name}"

    yield from walk(typer.main.get_command(app), "")


def help_text(command: str) -> str:
    """The --help of a command, 80 columns wide."""
    out = io.StringIO()
    with redirect_stdout(out), patch.dict(os.environ, {"COLUMNS": "80"}):
        main([*command.split(), "--help"])
    return out.getvalue().rstrip()


def option_blocks() -> str:
    """The --help of every command."""
    return "\n".join(
        f"## sdcli {command}\n\n```text\n$ sdcli {command} --help\n{help_text(command)}\n```\n"
        for command in commands()
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, aligned so that it can be read as plain text."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    return "\n".join(
        [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:], ""]
    )


def _wrapped(item: str) -> str:
    """An item of a list, in lines of 80 characters."""
    return textwrap.fill(item, 80, subsequent_indent="  ", break_on_hyphens=False) + "\n"


def command_table() -> str:
    """The commands and their summaries, for the README."""
    return table(["command", ""], [[f"`{name}`", about] for name, about in COMMANDS.items()])


def page_list() -> str:
    """Links to the pages of the manual, for the README."""
    return "".join(
        f"- [{name}](sdcli/docs/{name}.md): {docs.topic_summary(name)}\n" for name in docs.TOPICS
    )


_TYPE_WORDS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}


def _values(name: str, info: FieldInfo) -> str:
    """What a field may be set to."""
    if name == SIZE:
        return "WxH, or [W, H] in JSON, YAML and TOML"
    if info.choices:
        return ", ".join(info.choices)
    kind = _TYPE_WORDS[FIELD_TYPES[name]]
    limits = f"{info.minimum} to {info.maximum}"
    if info.minimum is None or info.help.startswith(limits):
        return kind
    return f"{kind}, {limits}"


def field_rows() -> dict[str, FieldInfo]:
    """Every field of a prompt file but the prompt, by name, the size included."""
    return {**REQUEST_FIELDS, SIZE: SIZE_INFO}


def _field_item(name: str, info: FieldInfo) -> str:
    first = name if name in ("width", "height") else info.option_name
    others = [*dict.fromkeys(n for n in (name, *info.aliases) if n != first)]
    also = f"; also {', '.join(f'`{other}`' for other in others)}" if others else ""
    swept = " Takes a list." if info.sweep else ""
    default = "" if info.default in (None, False) else f" Default: {info.default}."
    return _wrapped(f"- `{first}` ({_values(name, info)}{also}): {info.help}{default}{swept}")


def fields() -> str:
    """Every field of a prompt file."""
    return "".join(_field_item(name, info) for name, info in field_rows().items())


def kohya_names() -> str:
    """The short option names of kohya's sample prompts."""
    return table(
        ["kohya", "field"], [[f"`--{short}`", f"`{name}`"] for short, name in _SHORT_NAMES.items()]
    )


_OTHER_CODES = {
    ExitCode.OK: "Everything that was requested is done.",
    ExitCode.INTERNAL: "A bug: the traceback is printed unaltered.",
    ExitCode.PARTIAL: "A batch in which some jobs failed; the others are written.",
    ExitCode.CLOSED_PIPE: "The reader of stdout closed the pipe.",
}


def exit_codes() -> str:
    """The exit codes, with the first lines of the docstrings of their errors."""
    classes = [c for c in vars(errors).values() if isinstance(c, type) and c is not SdcliError]
    meanings = {
        error.exit_code: str(error.__doc__).split("\n")[0]
        for error in reversed(classes)
        if issubclass(error, SdcliError)
    } | _OTHER_CODES
    return table(
        ["code", "name", "meaning"],
        [[str(int(code)), code.name.lower(), meanings[code]] for code in ExitCode],
    )


def schedulers() -> str:
    """Every scheduler and its names."""
    return "".join(
        _wrapped(f"- {', '.join(f'`{name}`' for name in (row.name, *row.aliases, row.class_name))}")
        for row in SAMPLERS
    )


def vaes() -> str:
    """The published VAEs that have a name."""
    return "".join(
        _wrapped(f"- `{v.name}`: {v.repo}, for {', '.join(sorted(v.families))}; {v.description}")
        for v in VAES
    )


def optional_packages() -> str:
    """The packages that sdcli uses if they are installed."""
    return table(["package", "for"], [[f"`{name}`", use] for name, use in _OPTIONAL])


def synonyms() -> str:
    """The words of other programs, from the synonym table, or else from the names of fields."""
    if not find_spec("sdcli.catalog.synonyms"):
        return table(["theirs", "sdcli"], _alias_rows())
    return synonym_list(import_module("sdcli.catalog.synonyms").SYNONYMS)


def synonym_list(rows: Iterable[Any]) -> str:
    """Words with one meaning in one item: `--cfg-scale`, `--cfg` (A1111): `--guidance`."""
    items = []
    for (ours, note, tools), group in groupby(rows, lambda row: (row.ours, row.note, row.tools)):
        words = ", ".join(f"`{row.word}`" for row in group)
        meaning = "; ".join(part for part in (f"`{ours}`" if ours else "", note or "") if part)
        items.append(_wrapped(f"- {words} ({', '.join(tools)}): {meaning}"))
    return "".join(items)


def _alias_rows() -> list[list[str]]:
    return [
        [f"`{alias}`", f"`{info.flag}`"]
        for name, info in field_rows().items()
        for alias in dict.fromkeys((name, *info.aliases))
        if alias != info.option_name
    ]


PARTS: dict[str, Callable[[], str]] = {
    "commands": command_table,
    "exit-codes": exit_codes,
    "fields": fields,
    "kohya-names": kohya_names,
    "optional-packages": optional_packages,
    "options": option_blocks,
    "pages": page_list,
    "schedulers": schedulers,
    "synonyms": synonyms,
    "vaes": vaes,
}
"""What writes each generated part."""


def regenerate(text: str) -> str:
    """A page with its generated parts written again. Other names, the tour's, stay as they are."""

    def write(part: re.Match[str]) -> str:
        if part[1] not in PARTS:
            return part[0]
        return f"<!-- generated: {part[1]} -->\n{PARTS[part[1]]()}<!-- end -->\n"

    return _PART.sub(write, text)


def write_all() -> None:
    """Write all pages, and copy the example prompt files into the package."""
    shutil.rmtree(docs.EXAMPLES, ignore_errors=True)
    shutil.copytree(ROOT / "prompts", docs.EXAMPLES)
    # The README lists the summaries of the other pages.
    for page in reversed(pages()):
        page.write_text(regenerate(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    write_all()
