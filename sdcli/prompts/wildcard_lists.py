"""Read the lists of a wildcard folder, with the file and line of everything that is wrong in them.

`color.txt` has one value per line; .json and .yaml files have lists of values by name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import partial
from pathlib import Path
from typing import Any, Final

from sdcli.errors import UsageError, did_you_mean, quoted
from sdcli.inputs.regular_file import read_regular
from sdcli.inputs.syntax_errors import JSON, TOO_DEEP, YAML, plain_words
from sdcli.inputs.text_decoding import decode_text
from sdcli.prompts.wildcard_syntax import protect_text, restore_text

CODE: Final = "usage.wildcard"
_MAX_WEIGHT: Final = 10_000  # the library repeats a value as often
_COMMENT = re.compile(r"(?:^|\s+)(?:#|//).*$")
_WEIGHT = re.compile(r"([0-9]+\.?[0-9]*)::(.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ListValue:
    """A value of a list, the place where it is written, and its weight in a random choice."""

    text: str
    place: str
    weight: float = 1.0


class WildcardLists:
    """The lists of a folder by name; files are read when a list of theirs is first used.

    Without `weighted`, all values count alike: the library would repeat the heavier ones where it
    makes every combination. The library's samplers use it as their wildcard manager: they need
    `get_values`, `to_wildcard` and `wildcard_wrap`.
    """

    wildcard_wrap = "__"

    def __init__(self, folder: Path | None, *, weighted: bool = True) -> None:
        self.folder = folder
        self._weighted = weighted
        self._values: dict[str, list[ListValue]] = {}
        self._library_values: dict[str, Any] = {}
        self._lists: dict[str, Callable[[], list[ListValue]]] | None = None
        self._problems: list[UsageError] = []

    def values(self, name: str) -> Sequence[ListValue]:
        """Return the values of a list, or of all that a pattern such as `animal*` matches.

        Raises UsageError if there is no such list, and if it is empty or cannot be read.
        """
        # Parameters follow the name: __color(shade=dark)__
        list_name = re.sub(r"[\\/]+", "/", name.partition("(")[0]).strip("/")
        if list_name not in self._values:
            self._values[list_name] = self._find(list_name, name)
        return self._values[list_name]

    def get_values(self, wildcard: str) -> Any:
        """Return the values in the form that the library expects."""
        from dynamicprompts.wildcards.item import WildcardItem
        from dynamicprompts.wildcards.values import WildcardValues

        name = restore_text(wildcard.removeprefix("__").removesuffix("__"))
        if name not in self._library_values:
            self._library_values[name] = WildcardValues.from_items(
                WildcardItem(content=text, weight=value.weight)
                if self._weighted and value.weight != 1
                else text
                for value in self.values(name)
                for text in [protect_text(value.text)]
            )
        return self._library_values[name]

    def to_wildcard(self, name: str) -> str:
        """Return the name as a prompt writes it."""
        return f"__{name}__"

    def names(self) -> list[str]:
        """Return the names of all lists."""
        return sorted(self._all_lists())

    def _find(self, list_name: str, name: str) -> list[ListValue]:
        # ".." could leave the folder.
        known = self._all_lists() if ".." not in list_name else {}
        matching = [n for n in known if re.fullmatch(translate(list_name), n)]
        # A list in a subfolder needs no path, as in the library.
        matching = matching or [n for n in known if re.fullmatch(translate(f"*/{list_name}"), n)]
        if not matching:
            raise self._unknown_error(name)
        values = {value.text: value for n in matching for value in known[n]()}
        if not values:
            files = ", ".join(matching)
            raise UsageError(
                f"the wildcard list {files} in {self.folder} is empty",
                code=CODE,
                hint="add one value per line; lines that begin with # are comments",
            )
        return sorted(values.values(), key=lambda value: value.text)

    def _unknown_error(self, name: str) -> UsageError:
        # A file that cannot be read may have the list.
        if self._problems:
            return self._problems[0]
        hint = did_you_mean(name, self.names())
        if not hint and self.folder:
            hint = f"{self.folder} has these lists: {', '.join(self.names()) or 'none'}"
        hint = hint or "set the folder of wildcard lists: --wildcards DIR"
        return UsageError(f"unknown wildcard __{name}__", code=CODE, hint=hint)

    def _all_lists(self) -> dict[str, Callable[[], list[ListValue]]]:
        if self._lists is None:
            self._lists = {}
            for path, name in _list_files(self.folder) if self.folder else ():
                if path.suffix == ".txt":
                    self._lists[name] = partial(_read_lines, path)
                    continue
                try:
                    prefix = name.rpartition("/")[0]
                    for inner, values in _read_document(path):
                        self._lists[f"{prefix}/{inner}".strip("/")] = partial(list, values)
                except UsageError as error:
                    self._problems.append(error)
        return self._lists


def _list_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of a folder that may have lists, each with its name in prompts."""
    for directory, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(directory, name)
            if path.suffix in (".txt", ".json", ".yaml"):
                yield path, path.relative_to(folder).with_suffix("").as_posix()


def _read(path: Path) -> str:
    """Return the text of a list's file. Raises UsageError."""
    try:
        data = read_regular(path)
    except OSError as error:
        reason = error.strerror or "unknown error"
        raise UsageError(f"{path}: cannot be read: {reason}", code=CODE) from error
    return decode_text(data, str(path), code=CODE)


def _read_lines(path: Path) -> list[ListValue]:
    # To the library, # and // begin a comment everywhere; here only after a space, because text
    # such as C# and https:// has them too.
    lines = ((n, _COMMENT.sub("", line).strip()) for n, line in enumerate(_lines(path), 1))
    return [ListValue(text=text, place=f"{path}:{number}") for number, text in lines if text]


def _lines(path: Path) -> list[str]:
    return _read(path).split("\n")


def _read_document(path: Path) -> Iterator[tuple[str, list[ListValue]]]:
    """Yield the lists of a JSON or YAML file by name. Raises UsageError."""
    document = _parse(path, _read(path))
    if isinstance(document, list):
        document = {path.stem: document}
    if not isinstance(document, dict):
        raise UsageError(f"{path}: not an object of lists", code=CODE)
    yield from _named_lists(document, (), path)


def _named_lists(
    document: dict[Any, Any], names: tuple[str, ...], path: Path
) -> Iterator[tuple[str, list[ListValue]]]:
    for key, value in document.items():
        parts = (*names, str(key))
        name = "/".join(parts)
        if isinstance(value, dict):
            yield from _named_lists(value, parts, path)
        elif isinstance(value, list | str):
            items = [value] if isinstance(value, str) else value
            place = f"{path}: {quoted(name)}"
            yield name, [_document_value(item, place) for item in items if item]
        elif value is not None:
            raise UsageError(f"{path}: {quoted(name)} is not a list of texts", code=CODE)


def _document_value(item: object, place: str) -> ListValue:
    """Return a value: text, text after a weight ("2::red"), or an object with both."""
    text, weight = item, 1.0
    if isinstance(item, dict):
        text, weight = item.get("text") or item.get("content"), item.get("weight", 1)
    elif isinstance(item, str) and (match := _WEIGHT.fullmatch(item)):
        text, weight = match[2], float(match[1])
    is_weight = isinstance(weight, int | float) and 0 <= weight <= _MAX_WEIGHT
    if not isinstance(text, str) or not is_weight:
        raise UsageError(f"{place} has a value that is not text", code=CODE, hint="quote it")
    return ListValue(text=text, place=place, weight=float(weight))


def _parse(path: Path, text: str) -> object:
    """Parse JSON or YAML. Raises UsageError with the line."""
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            words = plain_words(error.msg, JSON)
            place = f"{path}:{error.lineno}:{error.colno}"
            raise UsageError(f"{place}: invalid JSON: {words}", code=CODE) from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}: invalid JSON: {TOO_DEEP}", code=CODE) from error
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        words = plain_words(str(getattr(error, "problem", "")), YAML)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise UsageError(f"{place}: invalid YAML: {words}", code=CODE) from error
