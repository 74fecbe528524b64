"""Parse and fill templates of file names: "{sku}-{seed}"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from string import Formatter
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.field_metadata import spelling_key

CODE: Final = "usage.name_template"
_MAX_BYTES: Final = 150
"""Of a name: leaves room for a number and the suffixes of companion files."""
_MAX_VALUE: Final = 80
_UNSAFE = re.compile(r"[^\w.+=-]+")
_FORMAT = re.compile(r"(0?[0-9]{1,2})?(\.[0-9]{1,2}f)?d?")
_WHOLE = re.compile(r"[0-9]{1,30}")


@dataclass(frozen=True, kw_only=True)
class Placeholder:
    """A literal text, and the placeholder after it: its key, "" for none, and its format."""

    literal: str
    key: str = ""
    format: str = ""


@dataclass(frozen=True, kw_only=True)
class NameTemplate:
    """The parts of a template, in their order."""

    parts: tuple[Placeholder, ...]

    @classmethod
    def parse(cls, text: str) -> NameTemplate:
        """Parse "{sku}-{seed}" or "{index:05}". Raises UsageError."""
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise _template_error(f"{quoted(text)}: {error}", "e.g. {index}-{seed}") from error
        if not text.strip() or any(separator in text for separator in "/\\"):
            raise _template_error(
                f"{quoted(text)} is not a file name", "all images are written to the folder --out"
            )
        return cls(parts=tuple(_parse_part(*part) for part in parsed))

    @property
    def keys(self) -> list[str]:
        """The keys of the placeholders, in their order."""
        return list(dict.fromkeys(part.key for part in self.parts if part.key))

    def fill(self, value_of: Callable[[str], object]) -> str:
        """Fill the placeholders with the values of their keys, as a safe file name.

        May be empty. Raises UsageError for a value that does not fit its format.
        """
        texts = [
            part.literal + (_format_value(value_of(part.key), part) if part.key else "")
            for part in self.parts
        ]
        return safe_name("".join(texts))


def safe_name(text: str) -> str:
    """Replace all but letters, digits and ._+=- by dashes; cut what no file system takes."""
    # The same letters give the same name, however Unicode composes them.
    name = _UNSAFE.sub("-", unicodedata.normalize("NFC", text)).strip("-.")
    # The cut may fall into a character of several bytes.
    return name.encode()[:_MAX_BYTES].decode(errors="ignore").strip("-.")


def _parse_part(
    literal: str, key: str | None, form: str | None, conversion: str | None
) -> Placeholder:
    if key is None:
        return Placeholder(literal=literal)
    if not key.strip():
        raise _template_error("a placeholder without a name", "e.g. {index}-{seed}")
    if conversion or not _FORMAT.fullmatch(form or ""):
        written = f"{{{key}{'!' + conversion if conversion else ''}{':' + form if form else ''}}}"
        raise _template_error(f"unknown format in {written}", "e.g. {index:05} or {guidance:.1f}")
    return Placeholder(literal=literal, key=spelling_key(key), format=form or "")


def _format_value(value: object, part: Placeholder) -> str:
    if value is None:
        return ""
    # A table's numbers arrive as text, and {sku:05} is meant for them, too.
    if isinstance(value, str) and part.format and _WHOLE.fullmatch(value):
        value = int(value)
    if part.format:
        try:
            return format(value, part.format)
        except (TypeError, ValueError) as error:
            raise _template_error(
                f"{quoted(str(value)[:40])} does not fit {{{part.key}:{part.format}}}", None
            ) from error
    text = f"{value:g}" if isinstance(value, float) else str(value)
    # The dash that a cut may leave would stand beside one of the template.
    return safe_name(text)[:_MAX_VALUE].rstrip("-.")


def _template_error(message: str, hint: str | None) -> UsageError:
    return UsageError(f"--name-template: {message}", code=CODE, hint=hint)
