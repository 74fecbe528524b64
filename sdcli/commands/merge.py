"""`sdcli merge`: the folders of several shards as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_verbosity
from sdcli.errors import ExitCode

if TYPE_CHECKING:
    from sdcli.storage.jobs.merging import MergedFolder
    from sdcli.workflows.merge_folders import Merge

Folders = Annotated[
    list[str], typer.Argument(metavar="FOLDER", help="Folders that sdcli batch wrote.")
]
Out = Annotated[
    str,
    typer.Option(
        "--out", "-o", metavar="DIR", help="Folder for all of the images.", show_default=False
    ),
]


def merge(
    folders: Folders, out: Out, json: flags.Json = False, quiet: flags.Quiet = False
) -> ExitCode:
    """Copy the images of several batch folders into one, and tell which are missing.

    The folders are those of the shards of one run, made with sdcli batch --shard. Their
    journals are merged, too: the same sdcli batch command continues the run in the new folder.
    Nothing is overwritten, and the folders stay as they are. Run it again to add what was made
    meanwhile. The exit code is 9 if images are missing, failed or damaged.

    \b
    Examples:
      sdcli merge part-1 part-2 -o all
      sdcli merge part-* -o all --json
    """
    from sdcli.inputs.paths import expand_user, output_path
    from sdcli.terminal.console import Console
    from sdcli.terminal.output import print_lines
    from sdcli.terminal.printing import print_document
    from sdcli.workflows.merge_folders import merge_folders

    console = Console(verbosity=parse_verbosity(quiet, 0))
    merged = merge_folders([*map(expand_user, folders)], output_path(out), console.warn)
    if json:
        print_document(merged.to_dict(), json=True)
    else:
        print_lines(_describe(merged))
    return merged.exit_code


def _describe(merged: Merge) -> Iterator[str]:
    for folder in merged.folders:
        yield f"{folder.path}: {_describe_folder(folder)}"
    total = f"{merged.run.complete} images"
    if merged.run.images is not None and not merged.run.is_ambiguous:
        total = f"{merged.run.images - len(merged.missing)} of {merged.run.images} images"
    failed = f", {merged.run.failed} failed" if merged.run.failed else ""
    yield f"{merged.out}: {total}{failed}"
    for shard, count in merged.missing_by_shard().items():
        begun = int(shard.split("/")[0]) in merged.run.shards
        yield f"missing from shard {shard}: {count}{'' if begun else ', which was not merged'}"


def _describe_folder(folder: MergedFolder) -> str:
    words = {
        "present": "there already",
        "different": "there with other pixels",
        "lost": "missing or damaged",
        "failed": "failed",
    }
    parts = [f"{folder.copied} copied"]
    parts += [f"{count} {words[name]}" for name in words if (count := getattr(folder, name))]
    return ", ".join(parts)
