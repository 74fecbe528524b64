"""Name ControlNets and their images in records, and find them again by their hashes or names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sdcli.checkpoints.adapters.controlnet_file import COMPONENT, is_controlnet, own_folder
from sdcli.checkpoints.adapters.recorded_networks import NetworkKind, recorded_hashes
from sdcli.checkpoints.recorded import full_path, recorded_name
from sdcli.checkpoints.weights import find_weights, hash_weights
from sdcli.field_validation import refuse_separator
from sdcli.fields.control import parse_control_images, parse_preprocessors
from sdcli.job import Job
from sdcli.listed_files import SEPARATOR, join_files, split_files
from sdcli.request import GenerationRequest
from sdcli.storage.metadata.recorded_inputs import image_names, locate_images


def control_names(job: Job, *, full_paths: bool) -> dict[str, str | None]:
    """Return the job's ControlNets and their images by name, or with `full_paths` by path."""
    spell = full_path if full_paths else recorded_name
    names = split_files(job.controlnet)
    return {
        "controlnet": join_files(spell(name, "ControlNet") for name in names),
        "control_image": image_names(
            parse_control_images(job.control_image), full_paths=full_paths
        ),
    }


def controls_of(job: Job) -> list[dict[str, Any]]:
    """Return what a record says of each ControlNet of a job: names, hashes and numbers."""
    images = parse_control_images(job.control_image)
    hashes = job.control_image_sha256.split(SEPARATOR)
    words = parse_preprocessors(job.control_preprocess, len(images))
    models = zip(split_files(job.controlnet), job.controlnet_sha256.split(SEPARATOR), strict=True)
    return [
        {
            "name": recorded_name(name, "ControlNet"),
            "sha256": sha256,
            "image": Path(image.path).name,
            "image_sha256": digest.partition(":")[0],
            "scale": image.scale,
            "start": image.start,
            "end": image.end,
            "preprocess": word,
        }
        for (name, sha256), image, digest, word in zip(models, images, hashes, words, strict=True)
    ]


def locate_controls(
    request: GenerationRequest,
    record: Mapping[str, Any],
    folders: Sequence[Path],
    warn: Callable[[str], None],
    own: Path | None = None,
) -> GenerationRequest:
    """Return the request with the paths of its recorded ControlNets and images on this machine.

    `own` is the image that has the record. What has the recorded hash comes first, in the
    `folders`, in their order. ControlNets and images that are not the recorded ones were chosen by
    the user, and stay. Raises ModelError and UsageError, which say what to look for.
    """
    recorded = record.get("request")
    if not isinstance(recorded, Mapping):
        return request
    entries = record.get("controlnets")
    changes: dict[str, Any] = {}
    names = split_files(request.controlnet)
    if names and request.controlnet == recorded.get("controlnet"):
        hashes = recorded_hashes(entries, "sha256", len(names))
        kind = _kind(request.spec.variant)
        found = (kind.locate(n, h, folders) for n, h in zip(names, hashes, strict=True))
        changes["controlnet"] = join_files(refuse_separator("controlnet", f) for f in found)
    images = parse_control_images(request.control_image)
    if images and request.control_image == recorded.get("control_image"):
        hashes = recorded_hashes(entries, "image_sha256", len(images))
        changes["control_image"] = locate_images(
            "control_image", images, hashes, folders, warn, own
        )
    return replace(request, **changes)


def _kind(variant: str | None) -> NetworkKind:
    return NetworkKind(
        field="controlnet",
        words="ControlNet",
        suffixes=(".safetensors",),
        is_one=is_controlnet,
        hash_of=partial(_hash, variant=variant),
    )


def _hash(path: Path, variant: str | None) -> str:
    return hash_weights(find_weights(own_folder(path), COMPONENT, variant))
