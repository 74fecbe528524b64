"""Name IP-Adapters and their images in records, and find them again by their hashes or names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.adapters import image_encoder
from sdcli.checkpoints.adapters.ip_adapter_file import open_ip_adapter
from sdcli.checkpoints.adapters.recorded_networks import NetworkKind, recorded_hashes
from sdcli.checkpoints.file_hashes import sha256
from sdcli.checkpoints.recorded import full_path, recorded_name
from sdcli.checkpoints.weight_files import WEIGHT_SUFFIXES
from sdcli.checkpoints.weights import find_weights, hash_weights
from sdcli.errors import SdcliError
from sdcli.field_validation import refuse_separator
from sdcli.fields.ip_adapter import parse_ip_images
from sdcli.inputs.paths import expand_user
from sdcli.job import Job
from sdcli.listed_files import SEPARATOR, join_files, split_files
from sdcli.request import GenerationRequest
from sdcli.storage.metadata.recorded_inputs import image_names, locate_images


def ip_adapter_names(job: Job, *, full_paths: bool) -> dict[str, str | None]:
    """Return the job's IP-Adapters, images and encoder by name, or with `full_paths` by path."""
    spell = full_path if full_paths else recorded_name
    return {
        "ip_adapter": join_files(spell(n, "IP-Adapter") for n in split_files(job.ip_adapter)),
        "ip_image": image_names(parse_ip_images(job.ip_image), full_paths=full_paths),
        "ip_encoder": job.ip_encoder and spell(job.ip_encoder, "image encoder"),
    }


def ip_adapters_of(job: Job) -> list[dict[str, Any]]:
    """Return what a record says of each image prompt of a job: names, hashes and its scale."""
    images = parse_ip_images(job.ip_image)
    names, hashes = split_files(job.ip_adapter), job.ip_adapter_sha256.split(SEPARATOR)
    models = list(zip(names, hashes, strict=True))
    models = models * len(images) if len(models) == 1 else models
    return [
        {
            "name": recorded_name(name, "IP-Adapter"),
            "sha256": digest,
            "image": Path(image.path).name,
            "image_sha256": image_digest,
            "scale": image.scale,
            "encoder_sha256": job.ip_encoder_sha256,
        }
        for (name, digest), image, image_digest in zip(
            models, images, job.ip_image_hashes, strict=True
        )
    ]


def locate_ip_adapters(
    request: GenerationRequest,
    record: Mapping[str, Any],
    folders: Sequence[Path],
    warn: Callable[[str], None],
    own: Path | None = None,
) -> GenerationRequest:
    """Return the request with the paths of its recorded IP-Adapters and images on this machine.

    `own` is the image that has the record. What has the recorded hash comes first, in the
    `folders`, in their order. What is not the recorded one was chosen by the user, and stays.
    Raises ModelError and UsageError, which say what to look for.
    """
    recorded = record.get("request")
    if not isinstance(recorded, Mapping):
        return request
    entries = record.get("ip_adapters")
    changes: dict[str, Any] = {}
    names, images = split_files(request.ip_adapter), parse_ip_images(request.ip_image)
    if request.ip_adapter == recorded.get("ip_adapter"):
        found = [
            _ADAPTER.locate(name, digest, folders)
            for name, digest in zip(names, _hashes_of(entries, len(names)), strict=True)
        ]
        changes["ip_adapter"] = join_files(refuse_separator("ip_adapter", f) for f in found)
        names = tuple(found)
    if request.ip_encoder and request.ip_encoder == recorded.get("ip_encoder"):
        [digest] = recorded_hashes(_first(entries), "encoder_sha256", 1)
        beside = [expand_user(name).absolute().parent for name in names]
        places = [path for path in beside if path.is_dir()]
        changes["ip_encoder"] = _ENCODER.locate(request.ip_encoder, digest, [*folders, *places])
    if images and request.ip_image == recorded.get("ip_image"):
        hashes = recorded_hashes(entries, "image_sha256", len(images))
        changes["ip_image"] = locate_images("ip_image", images, hashes, folders, warn, own)
    return replace(request, **changes)


def _hashes_of(entries: object, adapters: int) -> list[str]:
    """Return the hash of each IP-Adapter: a single one is in the entries of all images."""
    return recorded_hashes(_first(entries) if adapters == 1 else entries, "sha256", adapters)


def _first(entries: object) -> object:
    return entries[:1] if isinstance(entries, list) else entries


def _is_ip_adapter(path: Path) -> bool:
    with suppress(OSError, SdcliError):
        return path.is_file() and bool(open_ip_adapter(path))
    return False


def _hash_encoder(path: Path) -> str:
    folder = image_encoder.own_folder(path)
    return hash_weights(find_weights(folder, image_encoder.COMPONENT, None))


_ADAPTER: Final = NetworkKind(
    field="ip_adapter",
    words="IP-Adapter",
    suffixes=WEIGHT_SUFFIXES,
    is_one=_is_ip_adapter,
    hash_of=sha256,
)
_ENCODER: Final = NetworkKind(
    field="ip_encoder",
    words="image encoder",
    suffixes=(),
    is_one=image_encoder.is_image_encoder,
    hash_of=_hash_encoder,
)
