"""Define `sdcli models list`: list the models of this machine."""

from __future__ import annotations

from typing import Any

from sdcli.commands.models.options import ModelsDir
from sdcli.commands.options import flags
from sdcli.terminal.printing import print_document
from sdcli.terminal.tables import format_bytes


def list_models(models_dir: ModelsDir = None, json: flags.Json = False) -> None:
    """List the models in the Hugging Face cache and in your own folders, with their sizes.

    \b
    Examples:
      sdcli models list
      sdcli models list --models-dir ~/checkpoints
    """
    from sdcli.checkpoints.hub_cache import list_cached
    from sdcli.checkpoints.single_files import list_files
    from sdcli.inputs.paths import hub_cache

    rows: list[dict[str, Any]] = [
        {"name": model.name, "kind": "cache", "bytes": model.bytes, "path": str(model.path)}
        for model in list_cached()
    ]
    rows += [
        {"name": file.name, "kind": "file", "bytes": file.bytes, "path": str(file.path)}
        for file in list_files(models_dir or ())
    ]
    if json:
        document = {"schema": "sdcli/models/1", "cache": str(hub_cache()), "models": rows}
        print_document(document, json)
    else:
        _print(rows, str(hub_cache()))


def _print(rows: list[dict[str, Any]], cache: str) -> None:
    from sdcli.terminal.console import Console
    from sdcli.terminal.tables import print_columns

    if rows:
        cells = [[row["name"], format_bytes(row["bytes"]), row["path"]] for row in rows]
        print_columns(("name", "size", "path"), cells)
    total = format_bytes(sum(row["bytes"] for row in rows))
    Console().summary(f"{len(rows)} models, {total}; the cache is {cache}")
