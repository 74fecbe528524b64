"""What commands that draw nothing print on stdout."""

from __future__ import annotations

from collections.abc import Mapping


def print_document(content: Mapping[str, object], json: bool) -> None:
    """Print a JSON document, or facts for people."""
    if json:
        from sdcli.terminal.json_output import print_json_line

        print_json_line(content)
    else:
        from sdcli.output import tables

        tables.print_facts(content)


def print_path(path: str, schema: str, jsonl: bool) -> None:
    """Print the path of a file that is no image of the run, as text or as a JSON line."""
    if jsonl:
        print_document({"schema": schema, "path": path}, json=True)
    else:
        print(path, flush=True)
