"""Read the JSON files of model folders, whose contents are not trusted."""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path
from typing import Any, Final

from sdcli.errors import CorruptError, ModelError

_MAX_BYTES: Final = 64 << 20
"""Largest file that is read. The vocabulary of a large tokenizer is 20 MB."""

# Parsers in other languages recurse on the stack of the process, which ends it without a message.
_MAX_DEPTH: Final = 32

# Diffusers writes it as -Infinity, its default, in the files of several schedulers.
_MAY_BE_INFINITE: Final = "lambda_min_clipped"

_MAX_SHOWN: Final = 60


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a model folder.

    Raises ModelError if the file is missing, and CorruptError if it is not a JSON object, nests too
    deeply or has numbers that no setting can have.
    """
    return parse_json(path, read_bytes(path))


def parse_json(path: Path, raw: bytes) -> dict[str, Any]:
    """Parse the contents of the file `path`, as `read_json` does. Raises CorruptError."""
    data = _parse(path, raw)
    if not isinstance(data, dict):
        raise CorruptError(f"{path}: not a JSON object", code="model.corrupt")
    _check_values(path, data)
    return data


def read_bytes(path: Path) -> bytes:
    """Read a small file of a model folder. Raises ModelError or CorruptError."""
    try:
        check_regular_file(path)
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    # ValueError: a null character in a name.
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path.parent}: cannot read {path.name}: {getattr(error, 'strerror', None) or error}",
            code="model.incomplete",
            hint="use a folder in the Diffusers layout, with model_index.json and its components",
        ) from error
    if len(raw) > _MAX_BYTES:
        raise CorruptError(f"{path}: larger than {_MAX_BYTES >> 20} MiB", code="model.corrupt")
    return raw


def check_regular_file(path: Path) -> None:
    """Raise CorruptError for a pipe, a device or a folder in place of a file, or OSError."""
    # Opening a pipe would wait for its other end.
    if not stat.S_ISREG(path.stat().st_mode):
        raise CorruptError(f"{path}: not a regular file", code="model.corrupt")


def shorten(value: object) -> str:
    """Return a value of a file as one short line of JSON for a message."""
    text = json.dumps(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _parse(path: Path, raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        problem = f"not JSON: line {error.lineno}: {error.msg}"
    except UnicodeDecodeError:
        problem = "not JSON: not UTF-8 text"
    except ValueError:  # Python limits the digits of an integer
        problem = "not JSON: a number has too many digits"
    except RecursionError:
        problem = f"nested more than {_MAX_DEPTH} levels deep"
    raise CorruptError(f"{path}: {problem}", code="model.corrupt", hint="download the file again")


def _check_values(path: Path, data: dict[str, Any]) -> None:
    """Raise CorruptError for a structure that is too deep and for a number that is not finite."""
    level: list[tuple[str, Any]] = list(data.items())
    for _ in range(_MAX_DEPTH):
        for key, value in level:
            if isinstance(value, float) and not math.isfinite(value) and key != _MAY_BE_INFINITE:
                raise CorruptError(f"{path}: {key} is not a finite number", code="model.corrupt")
        level = [
            (inner if isinstance(inner, str) else key, item)
            for key, value in level
            if isinstance(value, dict | list)
            for inner, item in (value.items() if isinstance(value, dict) else enumerate(value))
        ]
        if not level:
            return
    raise CorruptError(f"{path}: nested more than {_MAX_DEPTH} levels deep", code="model.corrupt")
