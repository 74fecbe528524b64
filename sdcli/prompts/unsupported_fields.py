"""Names that a prompt file cannot set, and what to do about each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sdcli.errors import UsageError
from sdcli.field_info import field_infos
from sdcli.flags import RUN_FLAGS

_RUN_OPTIONS: Final = frozenset(field_infos(*RUN_FLAGS)) | {"profile"}
"""Options of a whole run, which no row can set."""

_LEAVE_OUT: Final = "leave it out"
_NO_VARIATION: Final = "variation seeds are not supported: leave it out"
_OUT: Final = "leave it out, and use --out on the command line"

_A1111_FIELDS: Final[Mapping[str, str]] = {
    "denoising_strength": "image-to-image is not supported: leave it out",
    "do_not_save_grid": _LEAVE_OUT,
    "do_not_save_samples": _LEAVE_OUT,
    "outpath_grids": _OUT,
    "outpath_samples": _OUT,
    "prompt_for_display": _LEAVE_OUT,
    "restore_faces": _LEAVE_OUT,
    "sampler_index": "give the sampler's name, e.g. --sampler_name 'Euler a'",
    "seed_resize_from_h": _NO_VARIATION,
    "seed_resize_from_w": _NO_VARIATION,
    "styles": "write the style's words into the prompt",
    "subseed": _NO_VARIATION,
    "subseed_strength": _NO_VARIATION,
    "tiling": _LEAVE_OUT,
}
"""Further names that A1111's "Prompts from file" reads."""

_KOHYA_FIELDS: Final[Mapping[str, str]] = {
    "am": "LoRA is not supported: leave it out",
    "cn": "ControlNet is not supported: leave it out",
    "ctr": _LEAVE_OUT,
    "fs": _LEAVE_OUT,
    "g": "guidance of Stable Diffusion is --l",
    "i": "image-to-image is not supported: leave it out",
    "rcfg": _LEAVE_OUT,
}
"""Further names in kohya's sample prompts, most of them for other model families."""


def unsupported_field_error(name: str, key: str) -> UsageError | None:
    """The error of a name that is known but unsupported; `key` is its normalized spelling."""
    what, hint = f"{name!r} can't be set per row", None
    if key == "batch_size":
        hint = "use --count for more images per row, or --batch-size on the command line"
    elif key in _RUN_OPTIONS:
        hint = f"use it on the command line: --{key.replace('_', '-')}"
    elif key in _A1111_FIELDS:
        what, hint = f"{name!r} is an A1111 setting that sdcli does not support", _A1111_FIELDS[key]
    elif key in _KOHYA_FIELDS:
        what, hint = f"{name!r} is a kohya setting that sdcli does not support", _KOHYA_FIELDS[key]
    return UsageError(what, code="usage.field", hint=hint) if hint else None
