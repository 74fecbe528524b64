"""Name ControlNets and their images in records, and find them again by their hashes or names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.adapters.controlnet_file import COMPONENT, is_controlnet, own_folder
from sdcli.checkpoints.adapters.lora_names import hub_file
from sdcli.checkpoints.adapters.recorded_files import recorded_hash
from sdcli.checkpoints.recorded import full_path, recorded_name
from sdcli.checkpoints.weights import find_weights, hash_weights
from sdcli.control_fields import (
    SEPARATOR,
    join_controls,
    parse_control_images,
    parse_controlnets,
    parse_preprocessors,
)
from sdcli.errors import ModelError, SdcliError
from sdcli.field_validation import refuse_separator
from sdcli.inputs.paths import expand_user
from sdcli.job import Job
from sdcli.request import GenerationRequest
from sdcli.storage.metadata.recorded_inputs import locate_image

_MOST_NEIGHBOURS: Final = 200
_SUFFIX: Final = ".safetensors"


def control_names(job: Job, *, full_paths: bool) -> dict[str, str | None]:
    """Return the job's ControlNets and their images by name, or with `full_paths` by path."""
    spell = full_path if full_paths else recorded_name
    names = parse_controlnets(job.controlnet)
    images = parse_control_images(job.control_image)
    paths = [
        str(expand_user(image.path).absolute()) if full_paths else Path(image.path).name
        for image in images
    ]
    return {
        "controlnet": join_controls(spell(name, "ControlNet") for name in names),
        "control_image": join_controls(
            replace(image, path=path) for image, path in zip(images, paths, strict=True)
        ),
    }


def controls_of(job: Job) -> list[dict[str, Any]]:
    """Return what a record says of each ControlNet of a job: names, hashes and numbers."""
    images = parse_control_images(job.control_image)
    hashes = job.control_image_sha256.split(SEPARATOR)
    words = parse_preprocessors(job.control_preprocess, len(images))
    models = zip(
        parse_controlnets(job.controlnet), job.controlnet_sha256.split(SEPARATOR), strict=True
    )
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
    entries = entries if isinstance(entries, list) else []
    known = [entry for entry in entries if isinstance(entry, Mapping)]
    changes: dict[str, Any] = {}
    names = parse_controlnets(request.controlnet)
    if names and request.controlnet == recorded.get("controlnet"):
        hashes = _hashes(known, "sha256", len(names))
        variant = request.spec.variant
        found = (_locate(n, h, variant, folders) for n, h in zip(names, hashes, strict=True))
        changes["controlnet"] = join_controls(refuse_separator("controlnet", f) for f in found)
    images = parse_control_images(request.control_image)
    if images and request.control_image == recorded.get("control_image"):
        hashes = _hashes(known, "image_sha256", len(images))
        paths = (
            locate_image("control_image", image.path, digest, folders, warn, own)
            for image, digest in zip(images, hashes, strict=True)
        )
        changes["control_image"] = join_controls(
            replace(image, path=refuse_separator("control_image", path))
            for image, path in zip(images, paths, strict=True)
        )
    return replace(request, **changes)


def _hashes(entries: Sequence[Mapping[str, Any]], key: str, count: int) -> list[str]:
    """Return the recorded hashes, "" for those that are none."""
    if len(entries) != count:
        return [""] * count
    return [recorded_hash(entry.get(key)) or "" for entry in entries]


def _locate(name: str, sha256: str, variant: str | None, folders: Sequence[Path]) -> str:
    named = [expand_user(name), *(folder / Path(name).name for folder in folders)]
    named = [path for path in named if path.exists()]
    if not sha256 and named:
        return str(named[0])
    if found := next((path for path in named if _hash(path, variant) == sha256), None):
        return str(found)
    if hub_file(name) and not expand_user(name).exists():
        return name
    for path in _neighbours(folders) if sha256 else ():
        if _hash(path, variant) == sha256:
            return str(path)
    known = f" (SHA-256 {sha256})" if sha256 else ""
    raise ModelError(
        f"the record's ControlNet {name!r}{known} is not on this machine",
        code="model.not_found",
        hint="put it next to the image, or name its folder with --inputs DIR, or another one with "
        "--set controlnet=PATH",
    )


def _neighbours(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in dict.fromkeys(folders):
        with suppress(OSError):
            children = (p for p in sorted(folder.iterdir()) if p.is_dir() or p.suffix == _SUFFIX)
            # Hashing takes seconds for each file; a header shows which of them are ControlNets.
            yield from filter(is_controlnet, islice(children, _MOST_NEIGHBOURS))


def _hash(path: Path, variant: str | None) -> str | None:
    with suppress(OSError, SdcliError):
        return hash_weights(find_weights(own_folder(path), COMPONENT, variant))
    return None
