"""Read the request that made an image, by whichever program, as the fields of a prompt file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sdcli.errors import UsageError
from sdcli.fields.image import IMAGE_FIELDS
from sdcli.request import GenerationRequest
from sdcli.workflows.replay import read_image


def read_recorded(
    path: Path, chosen: Mapping[str, Any], warn: Callable[[str], None], *, ignore_inputs: bool
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the fields of the request that made an image, and the extra columns of its record.

    Also reads the records of other programs, without their models. `chosen` are models and input
    images that replace those of the record. With `ignore_inputs` the recorded inputs need not be
    found. Raises SdcliError for an image without a prompt, and as `read_images` does.
    """
    from sdcli.storage.images.codec import read_image_info

    document = read_image_info(path, with_hash=False)
    if document["record"] is None:
        return _foreign_fields(path, document["parameters"], warn), {}
    changes = dict(chosen)
    if ignore_inputs:
        changes |= {**dict.fromkeys(IMAGE_FIELDS), "mask_invert": False}
    request = read_image(path, changes, None, warn, document).request
    defaults = GenerationRequest(prompt="").to_dict()
    fields = {k: v for k, v in request.to_dict().items() if k == "prompt" or v != defaults[k]}
    return fields, request.row.extra


def _foreign_fields(
    path: Path, parameters: str | None, warn: Callable[[str], None]
) -> dict[str, Any]:
    """Return the usable fields of another program's record. Raises UsageError without a prompt."""
    from sdcli.interop.export import missing_prompt, to_request_fields
    from sdcli.interop.readers import read_foreign

    foreign = read_foreign(path, parameters)
    if foreign is None:
        raise UsageError(
            f"{path}: it has no record of how it was made",
            code="usage.no_record",
            hint="skip such images with --keep-going",
        )
    if missing := missing_prompt(foreign):
        raise UsageError(f"{path}: {missing}", code="usage.no_record")
    fields, left_out = to_request_fields(foreign)
    if left_out:
        named = ", ".join(f"{name} {value}" for name, value in left_out.items())
        warn(f"{path}: not taken from the record of {foreign.generator}: {named}")
    return fields
