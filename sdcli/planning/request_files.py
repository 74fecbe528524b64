"""Read the files that a request names, if it names any."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.input_images import InputReader
from sdcli.planning.request_controls import NO_CONTROLS, RequestControls, take_controls
from sdcli.planning.request_embeddings import NO_EMBEDDINGS, RequestEmbeddings, find_embeddings
from sdcli.planning.request_images import RequestImages, read_images
from sdcli.planning.request_ip_adapters import (
    NO_IP_ADAPTERS,
    RequestIpAdapters,
    take_ip_adapters,
)
from sdcli.planning.request_loras import NO_LORAS, RequestLoras
from sdcli.request import GenerationRequest

RequestFiles = tuple[
    RequestImages, RequestControls, RequestIpAdapters, RequestLoras, RequestEmbeddings
]

_FILE_FIELDS: Final = attrgetter(
    "image", "controlnet", "control_image", "control_preprocess", "embedding", "embedding_dir",
    "ip_adapter", "ip_image", "ip_encoder",
)  # fmt: skip


def read_files(
    request: GenerationRequest,
    defaults: ModelDefaults,
    read_image: InputReader | None,
    loras: RequestLoras,
    embeddings: RequestEmbeddings | None,
    *,
    is_local: bool,
) -> RequestFiles | None:
    """Read what the files of a request add to its job; None for one that names no files.

    `embeddings` are those of the request, if they were found before. Raises SdcliError.
    """
    # Most requests of a long file name none, and cost nothing here.
    if loras is NO_LORAS and not any(_FILE_FIELDS(request)):
        return None
    images = read_images(request, defaults, read_image)
    controls = take_controls(request, defaults, read_image, is_local=is_local)
    adapters = take_ip_adapters(request, read_image, is_local=is_local)
    return images, controls, adapters, loras, embeddings or find_embeddings(request, defaults)


def job_fields(
    request: GenerationRequest, defaults: ModelDefaults, files: RequestFiles | None
) -> dict[str, Any]:
    """Return the fields of a job that come from these files, or from there being none."""
    if files is None:
        images = read_images(request, defaults, None)
        files = images, NO_CONTROLS, NO_IP_ADAPTERS, NO_LORAS, NO_EMBEDDINGS
    return {name: value for one in files for name, value in one.job_fields().items()}
