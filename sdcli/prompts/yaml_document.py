"""YAML documents. Only the tree is PyYAML's: what a word means is decided as in YAML 1.2.

So `negative: no` is a text and not "false", and no tag can make anything but plain values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sdcli.errors import UsageError
from sdcli.prompts.documents import Path, broken_text, entries, nearest
from sdcli.prompts.entry import Place, Reading, fault

_INT = re.compile(r"[-+]?[0-9]{1,4000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_TAGS = ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
_DEPTH = 5


def read(lines: Iterable[str], file: str) -> Reading:
    """The documents of a YAML file, one after the other; each is held in memory as a whole."""
    import yaml

    text = "".join(lines)
    if problem := broken_text(text, file):
        yield problem
        return
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for node in yaml.compose_all(text, Loader=loader):
            places: dict[Path, tuple[int, int]] = {}
            value = _value(node, (), places, file)
            yield from entries(value, lambda path, places=places: nearest(places, path, file))  # type: ignore[misc]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1)
        yield fault(place, f"not YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        yield fault(Place(file, 1), f"not YAML: {error}".splitlines()[0])
    except RecursionError:
        yield fault(Place(file, 1), "not YAML: nested too deeply")
    except UsageError as error:
        yield error


def _value(node: Any, path: Path, places: dict[Path, tuple[int, int]], file: str) -> object:
    """The plain value of a node, and where it and its parts are.

    What is deeper than any field has no value: an alias may make a small file endless.
    """
    here = (node.start_mark.line + 1, node.start_mark.column + 1)
    places.setdefault(path, here)
    if node.tag not in {f"tag:yaml.org,2002:{tag}" for tag in _TAGS}:
        raise fault(Place(file, *here), f"the tag {node.tag!r} is not understood")
    if node.id == "scalar":
        return _scalar(node.value) if not node.style else node.value
    if len(path) >= _DEPTH:
        return [] if node.id == "sequence" else {}
    if node.id == "sequence":
        return [_value(item, (*path, i), places, file) for i, item in enumerate(node.value)]
    fields: dict[object, object] = {}
    for key, item in node.value:
        name = key.value if key.id == "scalar" else None
        place = Place(file, key.start_mark.line + 1, key.start_mark.column + 1)
        if not isinstance(name, str):
            raise fault(place, "a name of a field is a word")
        if name in fields:
            raise fault(place, f"{name!r} is there twice")
        places[(*path, name)] = (place.line, place.column)
        fields[name] = _value(item, (*path, name), places, file)
    return fields


def _scalar(word: str) -> object:
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if _INT.fullmatch(word):
        return int(word)
    return float(word) if _FLOAT.fullmatch(word) else word
