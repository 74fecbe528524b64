"""Describe the field of requests that asks for a draft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sdcli.field_metadata import setting

DRAFT: Final = "draft"


@dataclass(frozen=True, kw_only=True)
class DraftRequestField:
    """Whether options that save time are chosen for the request. Jobs have those options only."""

    draft: bool = setting(
        False,
        "--draft",
        help="Choose options that save about half the time and change the image little: "
        "--feature-cache and --guidance-every, as far as the model has a use for them. sdcli "
        "prints what it chooses, and the record has it.",
    )
