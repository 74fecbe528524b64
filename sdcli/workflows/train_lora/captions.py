"""Find the captions of the images of a folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sdcli.errors import UsageError, did_you_mean, name_some, quoted
from sdcli.inputs.regular_file import read_regular
from sdcli.inputs.text_decoding import decode_text

TABLES: Final = ("metadata.jsonl", "metadata.csv", "captions.csv")
"""Files that name images and their captions; of several, the first one is read."""

_IMAGE_KEYS: Final = ("file_name", "file", "image")
_CAPTION_KEYS: Final = ("text", "caption", "prompt")
_CODE: Final = "usage.captions"


def read_captions(folder: Path, images: Sequence[Path], default: str | None) -> list[str]:
    """Return the caption of each image, in one line.

    That is the text file beside it of the same name, or else what a table of the folder says, or
    else the default. Raises UsageError for images without one, and for a table that names others.
    """
    table = _read_table(folder, images)
    captions = [_beside(path) or table.get(path) or default for path in images]
    missing = [path for path, caption in zip(images, captions, strict=True) if not caption]
    if missing:
        raise UsageError(
            f"{folder}: {len(missing)} of {len(images)} images have no caption: "
            f"{name_some([path.name for path in missing])}",
            code=_CODE,
            hint=f'write it to {missing[0].with_suffix(".txt").name}, or add --caption "TEXT"',
        )
    return [caption for caption in captions if caption]


def add_trigger(caption: str, trigger: str | None) -> str:
    """Return the caption with the trigger word, in front unless it is in it."""
    return caption if not trigger or trigger in caption else f"{trigger}, {caption}"


def find_lone_captions(folder: Path, images: Sequence[Path]) -> list[str]:
    """Return the names of text files of the folder that no image belongs to."""
    # Often an image of a format that is not read, such as .heic.
    used = {path.with_suffix(".txt") for path in images}
    return sorted(path.name for path in folder.glob("*.txt") if path not in used)


def _beside(image: Path) -> str:
    path = image.with_suffix(".txt")
    return _to_line(_read(path)) if path.is_file() else ""


def _to_line(text: str) -> str:
    return " ".join(text.split())


def _read(path: Path) -> str:
    try:
        data = read_regular(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", code=_CODE) from error
    return decode_text(data, str(path), code=_CODE)


def _read_table(folder: Path, images: Sequence[Path]) -> dict[Path, str]:
    """Return the captions of the table of a folder, by the path of the image."""
    path = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if path is None:
        return {}
    read = _json_rows if path.suffix == ".jsonl" else _csv_rows
    known, captions = {image.relative_to(folder).as_posix(): image for image in images}, {}
    for line, row in read(path, _read(path)):
        name = _find(path, line, row, _IMAGE_KEYS)
        if name not in known:
            raise UsageError(
                f"{path}:{line}: no image {quoted(name)} in the folder",
                code=_CODE,
                hint=did_you_mean(name, known),
            )
        captions[known[name]] = _to_line(_find(path, line, row, _CAPTION_KEYS))
    return captions


def _find(path: Path, line: int, row: Mapping[str, Any], keys: Sequence[str]) -> str:
    value = next((row[key] for key in keys if row.get(key) is not None), None)
    if not isinstance(value, str):
        raise UsageError(
            f"{path}:{line}: no text under {' or '.join(keys)}",
            code=_CODE,
            hint='e.g. {"file_name": "a.png", "text": "a cat"}',
        )
    return value


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}:{number}: not JSON: {error}", code=_CODE) from error
        if not isinstance(row, dict):
            raise UsageError(f"{path}:{number}: not a JSON object", code=_CODE)
        yield number, row


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # Spreadsheets write semicolons where the comma is that of decimals.
    delimiter = max(",;", key=text.partition("\n")[0].count)
    # A caption may have line ends, if it is in quotes.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}: {error}", code=_CODE) from error
