"""Read YAML documents with the scalars of YAML 1.2, where `negative: no` is text.

PyYAML only builds the tree of nodes; its constructors follow YAML 1.1 and are not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from sdcli.errors import UsageError
from sdcli.inputs.syntax_errors import TOO_DEEP, YAML, plain_words
from sdcli.prompts.encoding import check_document
from sdcli.prompts.entry import EntryIterator, PromptEntry, SourceLocation, located_error
from sdcli.prompts.readers.documents import document_entries
from sdcli.prompts.readers.locations import LineIndex, Path, nearest_location
from sdcli.prompts.readers.syntax_hints import yaml_hint

_JOINED_FIELD = re.compile(r"(prompt|negative|negative_prompt|steps|seed|size|guidance):\S")
_CUT_PROMPT = re.compile(
    r"^[ \t-]*(?:prompt|negative|negative_prompt): +[^\s\"'#|>][^\n#]* (#[^\s#]+)", re.MULTILINE
)
_INT = re.compile(r"[-+]?[0-9]{1,4000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_CONSTANTS: Final = {
    spelling: value
    for word, value in (("true", True), ("false", False), ("null", None), ("~", None), ("", None))
    for spelling in (word, word.title(), word.upper())
}
_STANDARD_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in (
        "bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value"
    )
)  # fmt: skip
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"

# The deepest value of a field is a side in a sweep of sizes: requests, index, size, item, side. An
# alias may refer to its own parent, which makes a short document endlessly deep.
_MAX_DEPTH: Final = 5

# PyYAML's C parser recurses, and crashes the process at about thirty thousand levels.
_MAX_NESTING: Final = 1000


def read_yaml(lines: Iterable[str], file: str) -> EntryIterator:
    """Read the documents of a YAML file; the file is held in memory as a whole."""
    import yaml

    text = "".join(lines)
    if problem := check_document(text, file):
        yield problem
        return
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_nesting(yaml.parse(text, Loader=loader))
        note = _cut_prompt_note(text, file)
        for node in yaml.compose_all(text, Loader=loader):
            document = _Document(file)
            for entry in document_entries(document.build(node, ()), document.locate):
                if note and isinstance(entry, PromptEntry):
                    entry, note = replace(entry, notes=(note,)), None
                yield entry
    except (yaml.YAMLError, RecursionError) as error:
        yield _syntax_error(text, file, error)
    except UsageError as error:
        yield error


def _syntax_error(text: str, file: str, error: Exception) -> UsageError:
    """Build the error of a text that PyYAML rejects, with the best known location."""
    import yaml

    location = SourceLocation(file, 1, 1)
    message = TOO_DEEP
    if isinstance(error, yaml.MarkedYAMLError):
        message = plain_words(error.problem or error.context or "", YAML)
        if mark := error.problem_mark or error.context_mark:
            location = SourceLocation(file, mark.line + 1, mark.column + 1)
    elif isinstance(error, yaml.YAMLError):
        # A control character: the error has no location that can be relied on.
        character = yaml.reader.Reader.NON_PRINTABLE.search(text)
        message = plain_words("not allowed", YAML)
        location = LineIndex(text, file).location(character.start() if character else 0)
    lines = text.splitlines()[location.line - 1 : location.line]
    hint = yaml_hint(str(message), "".join(lines))
    return located_error(location, f"invalid YAML: {message}", hint=hint)


def _check_nesting(events: Iterable[Any]) -> None:
    """Raise RecursionError for a document that would crash the process when it is composed."""
    from yaml import CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in events:
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > _MAX_NESTING:
            raise RecursionError


class _Pair(NamedTuple):
    """The nodes of a key and its value."""

    key: Any
    value: Any


class _Document:
    """Builds the plain values of a document's nodes and keeps their locations."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._locations: dict[Path, SourceLocation] = {}
        self._pairs: dict[int, dict[str, _Pair]] = {}

    def locate(self, path: Path) -> SourceLocation:
        """Return the location of a value that was built, or of the nearest one around it."""
        return nearest_location(self._locations, path, SourceLocation(self._file, 1, 1))

    def build(self, node: Any, path: Path) -> object:
        """Build the value of a node; lists and objects that are too deep stay empty.

        Raises UsageError.
        """
        self._locations.setdefault(path, self._start(node))
        # A tag like !!python/name could otherwise make arbitrary objects.
        if node.tag not in _STANDARD_TAGS:
            hint = "put text that begins with ! in quotes"
            raise located_error(self._start(node), f"unsupported tag {node.tag!r}", hint=hint)
        if node.id == "scalar":
            if not node.style and _JOINED_FIELD.match(node.value) and not _is_field(path):
                hint = "write a space after the colon"
                raise located_error(
                    self._start(node), f"{node.value[:40]!r} is no field", hint=hint
                )
            return node.value if node.style else _parse_plain_scalar(node.value)
        if len(path) >= _MAX_DEPTH:
            return [] if node.id == "sequence" else {}
        if node.id == "sequence":
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        fields = {}
        for name, pair in self._mapping(node).items():
            self._locations[*path, name] = self._start(pair.key)
            fields[name] = self.build(pair.value, (*path, name))
        return fields

    def _mapping(self, node: Any) -> dict[str, _Pair]:
        """Return the pairs of a mapping, those that `<<` merges into it last."""
        if id(node) in self._pairs:
            return self._pairs[id(node)]
        # Stored before it is filled, so that a mapping that merges itself ends here.
        self._pairs[id(node)] = pairs = {}
        merged: dict[str, _Pair] = {}
        for key, value in node.value:
            if key.tag == _MERGE_TAG:
                merged = self._merge(value) | merged
                continue
            if key.id != "scalar":
                raise located_error(self._start(key), "field names must be text")
            name = key.value
            if name in pairs:
                raise located_error(self._start(key), f"duplicate key {name!r}")
            pairs[name] = _Pair(key, value)
        pairs |= {name: pair for name, pair in merged.items() if name not in pairs}
        return pairs

    def _merge(self, value: Any) -> dict[str, _Pair]:
        """Return the pairs of one mapping or a list of them, the first winning."""
        merged: dict[str, _Pair] = {}
        for node in value.value if value.id == "sequence" else [value]:
            if node.id != "mapping":
                message = "<< must refer to a mapping or a list of mappings"
                raise located_error(self._start(node), message)
            merged = self._mapping(node) | merged
        return merged

    def _start(self, node: Any) -> SourceLocation:
        return SourceLocation(self._file, node.start_mark.line + 1, node.start_mark.column + 1)


def _is_field(path: Path) -> bool:
    """Whether the path is that of a field's value, not of a whole entry."""
    return bool(path) and isinstance(path[-1], str)


def _cut_prompt_note(text: str, file: str) -> str | None:
    """A note about the first prompt that is cut off by a # without a space behind it."""
    match = _CUT_PROMPT.search(text)
    if not match:
        return None
    location = LineIndex(text, file).location(match.start(1))
    return f"{location}: {match[1]} is a comment; to draw it, put the prompt in quotes"


def _parse_plain_scalar(text: str) -> object:
    """Return the value of a scalar without quotes."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
