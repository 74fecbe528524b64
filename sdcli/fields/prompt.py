"""Describe how the text of a prompt is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sdcli.field_metadata import setting
from sdcli.field_validation import value_error

A1111: Final = "a1111"
COMPEL: Final = "compel"
PLAIN: Final = "plain"
PROMPT_SYNTAXES: Final = (A1111, COMPEL, PLAIN)


def with_recorded_syntax(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recorded request. A record without a syntax had none to choose."""
    return {"prompt_syntax": PLAIN, **fields}


@dataclass(frozen=True, kw_only=True)
class PromptSettings:
    """How prompts and negative prompts are read. None is A1111's syntax."""

    prompt_syntax: str | None = setting(
        None,
        "--prompt-syntax",
        help="a1111 reads weights such as (cat:1.3), schedules, BREAK, AND and prompts of any "
        "length. compel reads weights such as (cat)1.3 and cat++, .blend() and .and(). plain draws "
        "all of it as words. Both cut prompts off after 77 tokens. Default: a1111.",
        choices=PROMPT_SYNTAXES,
        sweep=95,
        resolved=A1111,
    )

    @property
    def reads_a1111(self) -> bool:
        """Whether prompts are in A1111's syntax, which is the default."""
        return self.prompt_syntax in (None, A1111)

    def check_prompt_syntax(self) -> None:
        """Raise UsageError for an unknown syntax."""
        if self.prompt_syntax not in (None, *PROMPT_SYNTAXES):
            names = f"{', '.join(PROMPT_SYNTAXES[:-1])} or {PROMPT_SYNTAXES[-1]}"
            raise value_error("prompt_syntax", self.prompt_syntax, f"is not {names}")
