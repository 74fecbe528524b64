"""The formats of prompt files: one row each, found by suffix or by --input-format."""

from __future__ import annotations

from importlib import import_module
from pathlib import PurePath
from typing import Final, Literal, cast

from sdcli.errors import UsageError
from sdcli.prompts.entry import Reader

Format = Literal["txt", "csv", "tsv", "jsonl", "json", "yaml", "toml"]

_READERS: Final[dict[str, tuple[str, str]]] = {
    "txt": ("txt", "read_txt"),
    "csv": ("csv_rows", "read_csv"),
    "tsv": ("csv_rows", "read_tsv"),
    "jsonl": ("json_lines", "read_json_lines"),
    "json": ("documents", "read_json"),
    "yaml": ("yaml_documents", "read_yaml"),
    "toml": ("documents", "read_toml"),
}
_OTHER_SUFFIXES: Final = {"yml": "yaml", "ndjson": "jsonl", "text": "txt"}


def get_reader(format_name: str) -> Reader:
    """The reader of a format, imported when it is asked for."""
    module, name = _READERS[format_name]
    return cast(Reader, getattr(import_module(f"sdcli.prompts.readers.{module}"), name))


def format_of(file: str) -> str:
    """The format that a file's name tells. Raises UsageError."""
    suffix = PurePath(file).suffix.lower().removeprefix(".")
    name = _OTHER_SUFFIXES.get(suffix, suffix)
    if name in _READERS:
        return name
    raise UsageError(
        f"{file}: which format is it?",
        code="usage.format",
        hint=f"say --input-format, one of {', '.join(_READERS)}",
    )
