"""Prepare to resume a run from its saved latents."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sdcli.checkpoints.recorded import locate_recorded
from sdcli.latents import RESUMED_PREFIX
from sdcli.request import GenerationRequest
from sdcli.workflows.replay import locate_files

if TYPE_CHECKING:
    from sdcli.storage.latents.latents_file import LatentsFile


def locate_request(
    file: LatentsFile, inputs: str | None, warn: Callable[[str], None]
) -> GenerationRequest:
    """Return the recorded request with the paths of its models and input images on this machine.

    The images are looked for in the folder `inputs`, next to the file, and in the current folder;
    `warn` is called for one that has changed.
    """
    request = file.request
    spec = locate_recorded(request.spec, file.origin, file.path.parent)
    request = replace(request, spec=spec)
    return locate_files(request, file.origin, file.path, inputs, warn)


def resumed_request(
    recorded: GenerationRequest, changes: Mapping[str, Any], spec_changes: Mapping[str, Any]
) -> GenerationRequest:
    """Return the recorded request with the changes that are set.

    `changes` are fields of the request and `spec_changes` fields of its PipelineSpec. Values of
    None and False leave the recorded ones.
    """
    spec = replace(recorded.spec, **{k: v for k, v in spec_changes.items() if _is_set(v)})
    return replace(recorded, spec=spec, **{k: v for k, v in changes.items() if _is_set(v)})


def _is_set(value: object) -> bool:
    return value is not None and value is not False


def branch_warning(file: LatentsFile, step: int) -> str | None:
    """Return a warning for resuming a resumed run before the step at which it was resumed.

    Its first steps were drawn for another request, but the record has the settings of its last
    ones only, so the result is a new image. None when there is nothing to warn about.
    """
    for event in file.record.get("events", ()):
        branch = re.match(rf"{RESUMED_PREFIX} (\d+)", str(event))
        if branch and step < int(branch[1]):
            return (
                f"the first {branch[1]} steps in {file.path} are from another run, and the steps "
                f"after step {step} will use the settings of its last ones: the result is a "
                "different image"
            )
    return None
