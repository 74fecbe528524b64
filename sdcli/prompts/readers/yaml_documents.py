"""YAML documents. Only the tree is PyYAML's: what a word means is decided as in YAML 1.2.

So `negative: no` is a text and not "false", and no tag can make anything but plain values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from sdcli.errors import UsageError
from sdcli.prompts.entry import EntryIterator, SourceLocation, located_error
from sdcli.prompts.readers.documents import document_entries, utf8_fault
from sdcli.prompts.readers.locations import LineIndex, Path, nearest_location

_INT = re.compile(r"[-+]?[0-9]{1,4000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_KINDS = ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in _KINDS)
_MERGE = "tag:yaml.org,2002:merge"
_DEPTH = 5
_DEEPEST = 1000  # levels of nesting; the parser falls over at some thirty thousand


def read_yaml(lines: Iterable[str], file: str) -> EntryIterator:
    """The documents of a YAML file, one after the other; each is held in memory as a whole."""
    import yaml

    text = "".join(lines)
    if problem := utf8_fault(text, file):
        yield problem
        return
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_depth(yaml.parse(text, Loader=loader))
        for node in yaml.compose_all(text, Loader=loader):
            tree = _Tree(file)
            yield from document_entries(tree.value(node, ()), tree.place)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (
            SourceLocation(file, mark.line + 1, mark.column + 1)
            if mark
            else SourceLocation(file, 1, 1)
        )
        yield located_error(place, f"not YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
        place = LineIndex(text, file).location(odd.start() if odd else 0)
        yield located_error(place, f"not YAML: {error}".splitlines()[0])
    except RecursionError:
        yield located_error(SourceLocation(file, 1, 1), "not YAML: nested too deeply")
    except UsageError as error:
        yield error


def _check_depth(events: Iterable[Any]) -> None:
    """Raises RecursionError before the parser's own recursion, in C, would end the process."""
    from yaml import CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in events:
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > _DEEPEST:
            raise RecursionError


class _Tree:
    """The plain values of a document's nodes, and where they and their parts are."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._places: dict[Path, SourceLocation] = {}
        self._pairs: dict[int, dict[str, _Pair]] = {}

    def place(self, path: Path) -> SourceLocation:
        return nearest_location(self._places, path, SourceLocation(self._file, 1, 1))

    def value(self, node: Any, path: Path) -> object:
        """What is deeper than any field has no value: an alias may make a small file endless."""
        self._places.setdefault(path, self._of(node))
        if node.tag not in _TAGS:
            raise located_error(self._of(node), f"the tag {node.tag!r} is not understood")
        if node.id == "scalar":
            return _scalar(node.value) if not node.style else node.value
        if len(path) >= _DEPTH:
            return [] if node.id == "sequence" else {}
        if node.id == "sequence":
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        fields = {}
        for name, pair in self._fields(node).items():
            self._places[*path, name] = self._of(pair.key)
            fields[name] = self.value(pair.value, (*path, name))
        return fields

    def _fields(self, node: Any) -> dict[str, _Pair]:
        """The fields of a mapping, and behind its own those that `<<` merges into it."""
        if id(node) in self._pairs:
            return self._pairs[id(node)]
        self._pairs[id(node)] = own = {}  # what merges itself finds this, and ends
        merged: dict[str, _Pair] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for other in value.value if value.id == "sequence" else [value]:
                    merged = self._merged(other) | merged
                continue
            name = key.value if key.id == "scalar" else None
            if not isinstance(name, str):
                raise located_error(self._of(key), "a name of a field is a word")
            if name in own:
                raise located_error(self._of(key), f"{name!r} is there twice")
            own[name] = _Pair(key, value)
        own |= {name: pair for name, pair in merged.items() if name not in own}
        return own

    def _merged(self, node: Any) -> dict[str, _Pair]:
        if node.id != "mapping":
            raise located_error(self._of(node), "<< merges a mapping or a list of them")
        return self._fields(node)

    def _of(self, node: Any) -> SourceLocation:
        return SourceLocation(self._file, node.start_mark.line + 1, node.start_mark.column + 1)


class _Pair(NamedTuple):
    key: Any
    value: Any


def _scalar(word: str) -> object:
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if _INT.fullmatch(word):
        return int(word)
    return float(word) if _FLOAT.fullmatch(word) else word
