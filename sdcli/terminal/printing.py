"""Print documents and the paths of written files on stdout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sdcli.terminal.output import print_data

WRITTEN_SCHEMA = "sdcli/written/1"


def print_document(content: Mapping[str, object], json: bool) -> None:
    """Print `content` as one JSON document, or as lines of names and values."""
    if json:
        from sdcli.terminal.json_output import print_json_line

        print_json_line(content)
    else:
        from sdcli.terminal.tables import print_facts

        print_facts(content)


def print_path(path: str, json: bool, *, schema: str = WRITTEN_SCHEMA, **facts: object) -> None:
    """Print the path of a written file, or a JSON document with its `facts`; "-" is not printed."""
    if json:
        print_document({"schema": schema, "path": path, **facts}, json=True)
    elif path != "-":
        print_data(path)


def print_images(written: Iterable[tuple[str, Mapping[str, object]]], json: bool) -> None:
    """Print the path of each image as soon as it is written, or all of them in one document."""
    if json:
        images = [{"path": path, **facts} for path, facts in written]
        print_document({"schema": "sdcli/written-images/1", "images": images}, json=True)
    else:
        for path, _ in written:
            print_path(path, json=False)
