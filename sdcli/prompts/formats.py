"""The formats of prompt files, by file extension or --input-format."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import PurePath
from typing import Final, Literal, cast, get_args

from sdcli.errors import UsageError, quoted
from sdcli.inputs.image_suffixes import IMAGE_SUFFIXES
from sdcli.inputs.text_decoding import LINE, NUL
from sdcli.prompts.columns import DEFAULT_COLUMNS, Columns
from sdcli.prompts.entry import Reader

Format = Literal["txt", "csv", "tsv", "jsonl", "json", "yaml", "toml"]

NUL_SEPARATED: Final = "txt, separated by NUL"
"""Format of --null, which no file extension and no --input-format names."""

_READERS: Final[dict[str, tuple[str, str]]] = {
    "txt": ("txt", "read_txt"),
    "csv": ("csv_rows", "read_csv"),
    "tsv": ("csv_rows", "read_tsv"),
    "jsonl": ("json_lines", "read_json_lines"),
    "json": ("json_document", "read_json"),
    "yaml": ("yaml_documents", "read_yaml"),
    "toml": ("toml_document", "read_toml"),
    NUL_SEPARATED: ("txt", "read_txt"),
}
"""Format to the module in `readers` and the function that reads it."""

_OTHER_EXTENSIONS: Final = {"yml": "yaml", "ndjson": "jsonl", "text": "txt"}
EXTENSIONS: Final = frozenset({*get_args(Format), *_OTHER_EXTENSIONS})
"""The file extensions of prompt files, without the dot."""

_EXPORT: Final = "export the sheet as CSV, and give that file"
_SAVE_AS_TEXT: Final = "save it as plain text, one prompt per line, and give that file"
_IMAGE: Final = (
    "sdcli replay regenerates an image, and sdcli inspect --as-command shows its options"
)
_UNPACK: Final = "unpack it, and give the files inside"
_FOREIGN_EXTENSIONS: Final = {
    **dict.fromkeys(("xlsx", "xls", "xlsm", "ods", "numbers", "gsheet"), _EXPORT),
    **dict.fromkeys(("parquet", "feather", "arrow", "db", "sqlite", "pkl"), "export it as CSV"),
    **dict.fromkeys(("docx", "doc", "odt", "rtf", "pdf", "pages"), _SAVE_AS_TEXT),
    **dict.fromkeys((suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES), _IMAGE),
    **dict.fromkeys(("zip", "gz", "tar", "7z"), _UNPACK),
}
"""Extensions of files that cannot be read, and what to do instead."""


def get_reader(format_name: str, columns: Columns = DEFAULT_COLUMNS) -> Reader:
    """Import and return the reader of a format. Raises UsageError for columns that it lacks."""
    # Imported on demand: the parsers of all formats would slow down the start of every command.
    module, function = _READERS[format_name]
    reader = getattr(import_module(f"sdcli.prompts.readers.{module}"), function)
    if module == "csv_rows":
        reader = partial(reader, columns=columns)
    elif module == "txt" and columns.prompt_column:
        raise UsageError(
            f"--prompt-column {quoted(columns.prompt_column)}: text has no columns",
            code="usage.prompt_column",
            hint="leave it out, or name the format of stdin with --input-format",
        )
    return columns.read(cast(Reader, reader), has_header=module == "csv_rows")


def get_separator(format_name: str) -> str:
    """Return the character that ends the lines of a format."""
    return NUL if format_name == NUL_SEPARATED else LINE


def format_of(file: str) -> str:
    """Return the format of a file by its extension. Raises UsageError if it is unknown."""
    extension = PurePath(file).suffix.lower().removeprefix(".")
    name = _OTHER_EXTENSIONS.get(extension, extension)
    if name in _READERS and name != NUL_SEPARATED:
        return name
    raise UsageError(
        f"{file}: unknown prompt file format",
        code="usage.format",
        hint=_FOREIGN_EXTENSIONS.get(extension)
        or f"use --input-format with one of {', '.join(get_args(Format))}",
    )
