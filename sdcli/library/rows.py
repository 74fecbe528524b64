"""Read the rows of a table in Python as the command line does: columns, names and their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdcli.errors import UsageError
from sdcli.name_template import NameTemplate
from sdcli.prompts.columns import Columns

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
        return Columns.parse(self.extra, self.prompt_column)

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
