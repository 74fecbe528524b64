"""Read the rows of a table in Python as the command line does: columns, names and their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdcli.errors import UsageError, quoted
from sdcli.name_template import NameTemplate
from sdcli.prompts.columns import Columns, ExtraPolicy

if TYPE_CHECKING:
    from sdcli.workflows.open_prompts import PromptSource


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """Which columns of the prompts are read, and how many images, with which names."""

    extra: str | None = None
    prompt_column: str | None = None
    name_template: str | None = None
    limit: int | None = None

    def columns(self) -> Columns:
        """Return the reading of columns. Raises UsageError."""
        if self.extra not in (None, "keep", "ignore"):
            raise UsageError(
                f"extra: {quoted(str(self.extra))} is not keep or ignore", code="usage.extra"
            )
        if self.prompt_column is not None and not self.prompt_column.strip():
            raise UsageError("prompt_column: the name is empty", code="usage.prompt_column")
        policy: ExtraPolicy = "keep" if self.extra == "keep" else "ignore"
        return Columns(extra=policy if self.extra else "refuse", prompt_column=self.prompt_column)

    def names(self) -> NameTemplate | None:
        """Return the template of file names. Raises UsageError."""
        return None if self.name_template is None else NameTemplate.parse(self.name_template)

    def limited(self, prompts: PromptSource) -> PromptSource:
        """Keep only the images up to the limit. Raises UsageError."""
        limit = self.limit
        if limit is None:
            return prompts
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise UsageError(f"limit: {limit!r} is not a whole number above 0", code="usage.limit")
        prompts.limit(limit)
        return prompts
