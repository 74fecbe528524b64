"""Read the weights of one text in compel's language."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Final

from sdcli.errors import UsageError
from sdcli.prompts.syntax.source import SourceText, join
from sdcli.prompts.syntax.weights import Section, WeightedText

PLUS, MINUS = 1.1, 0.9
"""The factors of a sign."""

LARGEST: Final = 1000.0
"""The largest weight that is read."""

_MOST_OPEN: Final = 50
_TOKEN: Final = re.compile(r'\\[()",.+=\\-]|[()"]|[+-]+|[^()"+\\-]+|\\')
_SIGN_IN_WORD: Final = re.compile(r'[+-][^\s()",.+=-]')
_LAST_WORD: Final = re.compile(r"[^\s,]+\Z")
_NUMBER: Final = re.compile(r"\d+\.?\d*|\.\d+")
_SIGNS: Final = re.compile(r"[+-]+")
_ARGUMENT: Final = re.compile(r"\s*(\++|-+|\d+\.?\d*|\.\d+)\s*\)")
_CALL: Final = re.compile(r"\.([A-Za-z_]\w*)\(")
_WORD_CALL: Final = re.compile(r"([^\s,.=]*)\.(attend|swap|blend|and|add)\Z")
_LORA: Final = re.compile(r"(?:with|use)Lora\Z")
_A1111_WEIGHT: Final = re.compile(r":\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*\Z")
_LISTS: Final = ("blend", "and", "add")


def syntax_error(reason: str, place: int, hint: str | None = None) -> UsageError:
    """Return the error of syntax at an offset in the prompt."""
    return UsageError(
        f"{reason} (character {place + 1})",
        code="usage.prompt",
        hint=hint or "a backslash before a character makes it text",
    )


def read_text(source: SourceText) -> Section:
    """Return the text with its weights, without text that is only spaces. Raises UsageError."""
    reader = _Reader(source)
    while reader.read_token():
        pass
    return _merge(reader.finish())


@dataclass
class _Piece:
    """Text, and the factors of its weight, the inner ones first.

    `is_apart` tells that syntax is between it and the text before.
    """

    text: SourceText
    is_apart: bool
    factors: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Opening:
    """An open bracket or quote, its offset, and the number of pieces before it."""

    char: str
    start: int
    pieces: int


class _Reader:
    def __init__(self, source: SourceText) -> None:
        self._source = source
        self._at = 0
        self._pieces: list[_Piece] = []
        self._plain: list[SourceText] = []
        self._open: list[_Opening] = []
        self._is_apart = False

    def finish(self) -> list[_Piece]:
        """Return the pieces. Raises UsageError for an open bracket."""
        self._end_plain()
        if self._open:
            raise self._unclosed(self._open[-1])
        return self._pieces

    def read_token(self) -> bool:
        """Read a bracket, signs or text; return whether there was any. Raises UsageError."""
        match = _TOKEN.match(self._source.text, self._at)
        if match is None:
            return False
        token, start = match[0], match.start()
        self._at = match.end()
        if len(token) == 2 and token[0] == "\\":
            self._plain.append(self._source.slice(start + 1, self._at))
        elif token in ("(", ")", '"'):
            self._read_bracket(token, start)
        elif token[0] in "+-":
            self._read_signs(token, start)
        else:
            self._plain.append(self._source.slice(start, self._at))
        return True

    def _read_bracket(self, char: str, start: int) -> None:
        # A quote within brackets within quotes can only end the outer ones.
        quoted = any(opening.char == '"' for opening in self._open)
        if char == "(" and self._read_call_of_word(start):
            return
        if char == "(" or (char == '"' and not quoted):
            if len(self._open) == _MOST_OPEN:
                raise self._error(f"more than {_MOST_OPEN} brackets are open", start)
            self._end_plain()
            self._open.append(_Opening(char, start, len(self._pieces)))
            return
        opening = self._open[-1] if self._open else None
        if opening is None or opening.char != {")": "("}.get(char, char):
            raise self._unclosed(opening) if quoted and opening else self._unopened(char, start)
        self._close(self._open.pop(), start)

    def _close(self, opening: _Opening, end: int) -> None:
        text = join(self._plain).text
        # Compel would draw the number, which nobody wants in an image.
        if opening.char == "(" and (match := _A1111_WEIGHT.search(text)):
            raise self._error(
                f"{match[0]}) is how A1111 writes a weight",
                end,
                f"for compel write it after the bracket: (words){match[1].lstrip('+-')}",
            )
        self._end_plain()
        factor = self._read_suffix()
        for piece in self._pieces[opening.pieces :]:
            piece.factors.append(factor)

    def _read_suffix(self) -> float:
        """Return the weight that follows a bracket or quotes, 1 for none."""
        text, start = self._source.text, self._at
        if match := _SIGNS.match(text, start):
            self._at = match.end()
            # (a)-1.3 looks like a negative weight, but is 0.9 and a number to compel.
            if _NUMBER.match(text, self._at):
                raise self._error(
                    f"a number after {match[0]} is no weight", start, "e.g. (words)1.3"
                )
            return self._sign_weight(match[0], start)
        if match := _NUMBER.match(text, start):
            self._at = match.end()
            return self._finite(float(match[0]), start)
        if match := _CALL.match(text, start):
            self._at = match.end()
            return self._read_call(match[1], start)
        return 1.0

    def _read_call_of_word(self, start: int) -> bool:
        """Read `word.attend(…)`, whose bracket is at `start`; return whether it is one."""
        text = join(self._plain)
        if _LORA.search(text.text):
            raise self._error(
                "withLora() and useLora() are not supported", start, "use --lora or <lora:NAME:0.8>"
            )
        match = _WORD_CALL.search(text.text)
        if match is None:
            return False
        factor = self._read_call(match[2], start)
        self._weigh_word(text, match.start(), match.end(1), factor)
        return True

    def _read_call(self, name: str, start: int) -> float:
        """Return the weight of an operator whose arguments follow."""
        if name in _LISTS:
            raise self._error(
                f".{name}() needs to be the whole prompt",
                start,
                f'e.g. ("a cat", "a dog").{name}(0.7, 0.3)',
            )
        if name != "attend":
            reason = "is not supported" if name == "swap" else "is no operator of compel"
            raise self._error(f".{name}() {reason}", start)
        match = _ARGUMENT.match(self._source.text, self._at)
        if match is None:
            raise self._error(".attend() needs one weight", start, "e.g. cat.attend(1.3)")
        self._at = match.end()
        if match[1][0] in "+-":
            return self._sign_weight(match[1], start)
        return self._finite(float(match[1]), start)

    def _read_signs(self, signs: str, start: int) -> None:
        plain = join(self._plain)
        word = _LAST_WORD.search(plain.text)
        is_inside = len(signs) == 1 and _SIGN_IN_WORD.match(self._source.text, start)
        # A dash between spaces, or in blue-eyed, is what people mean by it.
        if word is None or is_inside:
            self._plain.append(self._source.slice(start, self._at))
            return
        # Compel draws such a word with its signs.
        if re.search(r"[.=]", word[0]):
            raise self._error(
                f"{signs} follows a word with a point or =",
                start,
                f"use brackets: ({word[0]}){signs}",
            )
        factor = self._sign_weight(signs, start)
        self._weigh_word(plain, word.start(), word.end(), factor)

    def _weigh_word(self, plain: SourceText, start: int, end: int, factor: float) -> None:
        self._plain = [plain.slice(0, start)]
        self._end_plain()
        self._plain = [plain.slice(start, end)]
        self._end_plain(factor)

    def _end_plain(self, *factors: float) -> None:
        text = join(self._plain)
        self._plain = []
        if text.text.strip():
            self._pieces.append(_Piece(text, self._is_apart, [*factors]))
        self._is_apart = True

    def _sign_weight(self, signs: str, start: int) -> float:
        if len(set(signs)) > 1:
            raise self._error(f"{signs} mixes + and -", start)
        if len(signs) > _MOST_OPEN:
            raise self._error(f"there are more than {_MOST_OPEN} signs", start)
        return float((PLUS if signs[0] == "+" else MINUS) ** len(signs))

    def _finite(self, weight: float, start: int) -> float:
        if not weight <= LARGEST:
            raise self._error(f"a weight is above {LARGEST:g}", start)
        return weight

    def _unclosed(self, opening: _Opening) -> UsageError:
        return self._error(f"{opening.char} is never closed", opening.start)

    def _unopened(self, char: str, start: int) -> UsageError:
        return self._error(f"{char} closes nothing", start)

    def _error(self, reason: str, at: int, hint: str | None = None) -> UsageError:
        return syntax_error(reason, self._source.position(at), hint)


def _merge(pieces: list[_Piece]) -> Section:
    """Join neighbours of one weight, with a space where syntax was between them."""
    runs: list[tuple[list[SourceText], float]] = []
    for piece in pieces:
        # From the outer one on, as compel multiplies.
        weight = math.prod(reversed(piece.factors), start=1.0)
        if runs and runs[-1][1] == weight:
            space = SourceText(" ", piece.text.offsets[:1])
            runs[-1][0].extend([space, piece.text])
        else:
            runs.append(([piece.text], weight))
    return tuple(WeightedText(join(texts), weight) for texts, weight in runs)
