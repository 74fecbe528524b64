"""Names that are known but cannot stand in a prompt file, and what to do about each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sdcli.errors import UsageError
from sdcli.field_info import field_infos
from sdcli.flags import RUN_FLAGS

_RUN_OPTIONS: Final = frozenset(field_infos(*RUN_FLAGS)) | {"profile"}
"""Options of a whole run, which no row can set."""

_LEAVE_OUT: Final = "leave it out"
_NO_VARIATION: Final = "a seed has no variations here: leave it out"
_OUT: Final = "leave it out, and say --out on the command line"

_A1111_FIELDS: Final[Mapping[str, str]] = {
    "denoising_strength": "there is no picture to start from: leave it out",
    "do_not_save_grid": _LEAVE_OUT,
    "do_not_save_samples": _LEAVE_OUT,
    "outpath_grids": _OUT,
    "outpath_samples": _OUT,
    "prompt_for_display": _LEAVE_OUT,
    "restore_faces": _LEAVE_OUT,
    "sampler_index": "name the sampler, as in --sampler_name 'Euler a'",
    "seed_resize_from_h": _NO_VARIATION,
    "seed_resize_from_w": _NO_VARIATION,
    "styles": "write the style's words into the prompt",
    "subseed": _NO_VARIATION,
    "subseed_strength": _NO_VARIATION,
    "tiling": _LEAVE_OUT,
}
"""What else its "Prompts from file" reads."""

_KOHYA_FIELDS: Final[Mapping[str, str]] = {
    "am": "no network is laid over the model: leave it out",
    "cn": "there is no ControlNet: leave it out",
    "ctr": _LEAVE_OUT,
    "fs": _LEAVE_OUT,
    "g": "the guidance of Stable Diffusion is --l",
    "i": "there is no picture to start from: leave it out",
    "rcfg": _LEAVE_OUT,
}
"""What else its sample prompts have, most of it for other families of models."""


def unsupported_field_error(name: str, key: str) -> UsageError | None:
    """The error of a name whose spelling is `key`, where it means something elsewhere."""
    what, hint = f"{name!r} is the whole run's, not a line's", None
    if key == "batch_size":
        hint = "more images of a line are --count; --batch-size stands on the command line"
    elif key in _RUN_OPTIONS:
        hint = f"say it on the command line: --{key.replace('_', '-')}"
    elif key in _A1111_FIELDS:
        what, hint = f"{name!r} is known to A1111, but not here", _A1111_FIELDS[key]
    elif key in _KOHYA_FIELDS:
        what, hint = f"{name!r} is known to kohya's scripts, but not here", _KOHYA_FIELDS[key]
    return UsageError(what, code="usage.field", hint=hint) if hint else None
