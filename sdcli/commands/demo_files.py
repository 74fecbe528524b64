"""`sdcli demo-files`: write the example prompt files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdcli import docs
from sdcli.commands.options import flags
from sdcli.errors import OutputError
from sdcli.inputs.paths import output_path
from sdcli.storage import files
from sdcli.terminal.printing import print_document, print_path

SCHEMA = "sdcli/demo-files/1"

Folder = Annotated[
    str, typer.Argument(metavar="DIR", help="Folder to write to; it is created if necessary.")
]


def demo_files(
    out: Folder = "prompts",
    force: flags.Force = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Write the example prompt files, one in each format, to a folder.

    Files that are there already with the same content are left as they are.

    \b
    Examples:
      sdcli demo-files
      sdcli demo-files examples --force
    """
    folder = output_path(out)
    missing = _missing_files(folder, force)
    if missing:
        files.prepare_folder(folder)
    for path, data in missing.items():
        files.prepare_folder(path.parent)
        files.write_atomic(path, data, force=force)
        if not json:
            print_path(str(path), json=False)
    if json:
        print_document({"schema": SCHEMA, "paths": [str(path) for path in missing]}, json=True)
    if not quiet:
        _print_next_step(folder, len(missing))


def _missing_files(folder: Path, force: bool) -> dict[Path, bytes]:
    """The files to write. Raises OutputError if one would overwrite another file."""
    examples = {folder / name: data for name, data in docs.example_files().items()}
    missing = {}
    for path, data in examples.items():
        if not path.is_file():
            missing[path] = data
        elif _read(path) != data:
            if not force:
                raise OutputError(
                    f"{path} exists and differs from the example",
                    code="output.exists",
                    hint="choose another folder, or add --force to overwrite the file",
                )
            missing[path] = data
    return missing


def _read(path: Path) -> bytes:
    with files.os_errors_as_output_errors(path):
        return path.read_bytes()


def _print_next_step(folder: Path, written: int) -> None:
    from shlex import quote

    from sdcli.terminal.console import Console

    count = f"files written: {written}" if written else "nothing to write"
    command = f"sdcli batch {quote(str(folder / 'demo.csv'))} --dry-run"
    Console().summary(f"{count}; to see what a file would generate: {command}")
