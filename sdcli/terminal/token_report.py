"""Print the tokens of prompts, with their weights in color on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sdcli.storage.text import one_line
from sdcli.terminal.output import has_styles, print_lines, print_styled_lines
from sdcli.terminal.tables import print_columns, terminal_width, wrap_text

_STYLES: Final = {"more": "1;33", "less": "2;36", "cut": "9;31", "special": "7", "": ""}
_HEADER: Final = ("word", "weight", "ids", "characters")


def print_tokens(name: str, prompt: Mapping[str, Any], limit: int) -> None:
    """Print one description that `TokenReader.read` returned. `limit` is that of a chunk."""
    text = str(prompt["text"])
    for number, part in enumerate(prompt["parts"], 1):
        if number > 1:
            print_lines([""])
        print_lines(wrap_text(_title(name, prompt["parts"], number, limit), hanging=2))
        words = [word for chunk in part["chunks"] for word in chunk["words"]]
        if has_styles(sys.stdout):
            print_styled_lines(_flow(text, words, prompt["cut"]))
        several = len(part["chunks"]) > 1
        rows = list(_rows(text, part["chunks"], several=several))
        if rows:
            print_columns(("chunk", *_HEADER) if several else _HEADER, rows)
    if cut := prompt["cut"]:
        excerpt = one_line(str(cut["text"]))
        line = f"{name}: {cut['tokens']} tokens are cut off: {excerpt}"
        print_lines(["", *wrap_text(line, hanging=2)])


def _title(name: str, parts: Sequence[Mapping[str, Any]], number: int, limit: int) -> str:
    part = parts[number - 1]
    chunks = len(part["chunks"])
    tokens = f"{part['tokens']} token{'s' * (part['tokens'] != 1)}"
    title = f"{name}: {tokens} in {chunks} chunk{'s' * (chunks != 1)} of {limit}"
    if len(parts) == 1:
        return title
    first, last = part["first_step"], part["last_step"]
    steps = f"step {first}" if first == last else f"steps {first} to {last}"
    return f"{title}, {steps}, weight {part['weight']:g}"


def _rows(
    text: str, chunks: Sequence[Mapping[str, Any]], *, several: bool
) -> Iterator[Sequence[object]]:
    for index, chunk in enumerate(chunks, 1):
        for word in chunk["words"]:
            spelled = text[word["start"] : word["end"]]
            row = (
                f"{spelled} (a special token)" if word["special"] else spelled,
                f"{word['weight']:.4g}",
                _places(word),
                f"{word['start']}-{word['end']}",
            )
            yield (str(index), *row) if several else row


def _places(word: Mapping[str, Any]) -> str:
    """The ids of a word, or how many vectors stand in its place."""
    if count := word["vectors"]:
        return f"{count} vector{'s' * (count != 1)}"
    return " ".join(map(str, word["ids"]))


def _flow(
    text: str, words: Sequence[Mapping[str, Any]], cut: Mapping[str, Any] | None
) -> list[str]:
    """Return the words one after the other in lines of the terminal's width, in their styles."""
    pairs = [(one_line(text[w["start"] : w["end"]]), _style(w)) for w in words]
    pairs += [(one_line(word), "cut") for word in str(cut["text"]).split()] if cut else []
    width, lines, column = terminal_width(), [""], 0
    for word, style in pairs:
        if column and column + 1 + len(word) > width:
            lines.append("")
            column = 0
        code = _STYLES[style]
        styled = f"\x1b[{code}m{word}\x1b[0m" if code else word
        lines[-1] += f" {styled}" if column else styled
        column += len(word) + bool(column)
    return lines


def _style(word: Mapping[str, Any]) -> str:
    if word["special"]:
        return "special"
    weight = word["weight"]
    return "more" if weight > 1 else "less" if weight < 1 else ""
