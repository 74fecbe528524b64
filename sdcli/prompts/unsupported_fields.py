"""Names that a prompt file cannot set, and what to do about each."""

from __future__ import annotations

from typing import Final

from sdcli.catalog.synonyms import find_option
from sdcli.errors import NearMissError, UsageError, quoted
from sdcli.field_metadata import field_infos
from sdcli.run_flags import RUN_FLAGS

_RUN_OPTIONS: Final = frozenset(field_infos(*RUN_FLAGS)) | {"profile"}
"""Options of a whole run, which no row can set."""


def unsupported_field_error(name: str, key: str) -> UsageError | None:
    """The error of a name that is known but unsupported; `key` is its normalized spelling."""
    if key == "batch_size":
        hint = "use --count for more images per row, or --batch-size on the command line"
        return _field_error(f"{quoted(name)} can't be set per row", hint)
    if key in _RUN_OPTIONS:
        return _run_option_error(name, key)
    if not (synonym := find_option(key)):
        return None
    ours = synonym.ours or ""
    if not ours.startswith("--"):
        what = f"{quoted(name)} is a setting of {synonym.tools[0]} that sdcli does not support"
        return _field_error(what, synonym.note or "leave it out")
    option = ours.removeprefix("--").replace("-", "_")
    if option in _RUN_OPTIONS:
        return _run_option_error(name, option)
    note = f": {synonym.note}" if synonym.note and "--" not in synonym.note else ""
    message, hint = f"unknown field {quoted(name)}", f"sdcli calls it {option}{note}"
    return NearMissError(message, code="usage.field", hint=hint)


def _run_option_error(name: str, option: str) -> UsageError:
    hint = f"use it on the command line: --{option.replace('_', '-')}"
    return _field_error(f"{quoted(name)} can't be set per row", hint)


def _field_error(message: str, hint: str) -> UsageError:
    return UsageError(message, code="usage.field", hint=hint)
