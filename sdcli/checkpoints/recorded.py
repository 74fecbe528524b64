"""Name models in records, and find them again by the hash of their weights or by their name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sdcli.catalog.known_vaes import OWN_VAE, TINY_VAE, find_known_vae
from sdcli.checkpoints.file_state import FilesState, files_state
from sdcli.checkpoints.hub_cache import cached_snapshot
from sdcli.checkpoints.locate import Kind
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.safetensors_header import read_header
from sdcli.checkpoints.single_file.detection import detect
from sdcli.checkpoints.weights import find_weights, hash_weights
from sdcli.errors import ModelError, SdcliError
from sdcli.inputs.paths import hub_cache
from sdcli.pipeline_spec import EMBEDDED, PipelineSpec

_CACHED_REPO: Final = re.compile(r"models--([^/]+)--([^/]+)")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
_MAX_NEIGHBOURS: Final = 200

REFINER_PREFIX: Final = "refiner."
"""Prefix of the refiner's components among the hashes of a record."""


@dataclass(frozen=True)
class _Field:
    """A field of a record that names a model.

    `component` is the one whose hash identifies it, `words` and `option` are for messages.
    """

    kind: Kind
    component: str
    words: str
    option: str


_FIELDS: Final[Mapping[str, _Field]] = {
    "model": _Field("model", "unet", "model", "--model PATH"),
    "vae": _Field("VAE", "vae", "VAE", "--vae PATH, or --set vae=PATH"),
    "refiner": _Field("model", f"{REFINER_PREFIX}unet", "refiner", "--set refiner=PATH"),
    "model_config": _Field("model", "", "configuration folder", "--set model_config=FOLDER"),
    "refiner_config": _Field(
        "model", "", "refiner's configuration folder", "--set refiner_config=FOLDER"
    ),
    "text_encoder": _Field(
        "text encoder", "text_encoder", "text encoder", "--set text_encoder=PATH"
    ),
}

MODEL_KINDS: Final[Mapping[str, Kind]] = {name: field.kind for name, field in _FIELDS.items()}
"""Fields of a record that name models."""

_COMPONENTS: Final[Mapping[Kind, str]] = {
    "model": "unet",
    "VAE": "vae",
    "text encoder": "text_encoder",
}
"""The component of a model of each kind, whose file is hashed."""


def recorded_name(name: str, kind: Kind) -> str:
    """Return what a record says of a model or VAE: its hub id, alias, or last part of its path."""
    if _is_alias(name, kind):
        return name
    path = _expand(name)
    if not (path.is_absolute() or name.startswith((".", "~")) or _exists(path)):
        return name
    for part in path.absolute().parts:
        if repo := _CACHED_REPO.fullmatch(part):
            return f"{repo[1]}/{repo[2]}"
    return path.resolve().name if path.name in ("", "..") else path.name


def full_path(name: str, kind: Kind) -> str:
    """Return the absolute path of a model or VAE that is a folder or file, else its name."""
    path = _expand(name)
    return name if _is_alias(name, kind) or not _exists(path) else str(path.absolute())


def local_states(spec: PipelineSpec) -> tuple[tuple[str, FilesState], ...]:
    """Return the state of each model of the spec that is on this machine, with its field."""
    names = {field: getattr(spec, field) for field in MODEL_KINDS}
    states = ((field, _state(name, MODEL_KINDS[field])) for field, name in names.items() if name)
    return tuple((field, state) for field, state in states if state)


def _state(name: str, kind: Kind) -> FilesState:
    if not _is_alias(name, kind) and _exists(_expand(name)):
        return files_state(_expand(name))
    known_vae = find_known_vae(name) if kind == "VAE" else None
    snapshot = cached_snapshot(known_vae.repo if known_vae else name)
    return (str(snapshot),) if snapshot else ()


def locate_recorded(spec: PipelineSpec, record: Mapping[str, Any], folder: Path) -> PipelineSpec:
    """Return the spec with the paths of its recorded model and VAE on this machine.

    `record` is that of an image, or the facts about encoded latents, and `folder` that of its file.
    What has the recorded weights comes first, then what has the name. A model or VAE that is not
    the recorded one was chosen by the user and stays. Raises ModelError.
    """
    fields, hashes = record.get("request") or record, record.get("weights")
    located: dict[str, Any] = {}
    for field, row in _FIELDS.items():
        name = getattr(spec, field)
        if name is not None and name == fields.get(field):
            recorded = str(hashes.get(row.component)) if isinstance(hashes, Mapping) else ""
            sha256 = recorded if _SHA256.fullmatch(recorded) else None
            wanted = _Wanted(row, name, sha256, folder, spec.variant)
            located[field] = wanted.locate()
    return replace(spec, **located)


@dataclass(frozen=True)
class _Wanted:
    """A model or VAE of a record. `sha256` is that of its UNet or VAE weights, None if unknown."""

    field: _Field
    name: str
    sha256: str | None
    folder: Path
    variant: str | None

    def locate(self) -> str:
        path = _expand(self.name)
        if _is_alias(self.name, self.field.kind) or (_exists(path) and self._may_be(path)):
            return self.name
        is_hub_id = not _exists(path) and _HUB_ID.fullmatch(self.name)
        if is_hub_id:
            return self.name
        for candidate in self._candidates(path):
            if self._may_be(candidate):
                return str(candidate)
        if _exists(path):  # with other weights, as the caller will find
            return self.name
        raise self._not_found_error()

    def _may_be(self, path: Path) -> bool:
        if not self.sha256:
            return path.name == _expand(self.name).name
        component = _COMPONENTS[self.field.kind]
        part = path / component
        with suppress(SdcliError, OSError):
            is_part = not path.is_file() and (self.field.kind == "model" or part.is_dir())
            home = part if is_part else path
            # Hashing takes seconds for each file; a header shows which of them can be models.
            if (
                self.field.kind == "model"
                and not is_part
                and detect(read_header(path)).kind != "model"
            ):
                return False
            return hash_weights(find_weights(home, component, self.variant)) == self.sha256
        return False

    def _candidates(self, path: Path) -> Iterator[Path]:
        """Paths of that name first, then everything in the same places."""
        places = self._places(path)
        yield from (place / path.name for place in places if _exists(place / path.name))
        yield from self._cached(path.name)
        for place in places:
            with suppress(OSError):
                yield from filter(self._is_model, islice(place.iterdir(), _MAX_NEIGHBOURS))
        if self.field.kind == "VAE":
            # A file of a model's folder may have been given, whose name says nothing.
            yield from (EMBEDDED_FOLDER / "vae", EMBEDDED_FOLDER / "vae_tiny")
        if self.field.kind == "text encoder":
            yield EMBEDDED_FOLDER

    def _places(self, path: Path) -> list[Path]:
        return [*dict.fromkeys([self.folder, self.folder.parent, Path(), path.parent])]

    def _is_model(self, path: Path) -> bool:
        if self.field.kind == "model":
            is_file = path.suffix == ".safetensors" == Path(self.name).suffix and path.is_file()
            return is_file or (path / "model_index.json").is_file()
        is_folder = any(
            (path / name).is_file()
            for name in ("config.json", f"{_COMPONENTS[self.field.kind]}/config.json")
        )
        return is_folder or path.suffix == ".safetensors"

    def _cached(self, name: str) -> Iterator[Path]:
        """Snapshots of the hub's cache that have the weights, or the name."""
        with suppress(OSError):
            for repo in hub_cache().glob("models--*"):
                has_weights = self.sha256 and (repo / "blobs" / self.sha256).exists()
                if has_weights or repo.name.rpartition("--")[2] == name:
                    yield from (repo / "snapshots").iterdir()

    def _not_found_error(self) -> ModelError:
        weights = f" with weights of SHA-256 {self.sha256}" if self.sha256 else ""
        searched = [*self._places(_expand(self.name)), hub_cache()]
        places = ", ".join(dict.fromkeys(map(os.path.abspath, searched)))
        return ModelError(
            f"the record's {self.field.words} {self.name!r}{weights} is not on this machine",
            code="model.not_found",
            hint=f"give its path with {self.field.option}; searched: {places}",
        )


def _is_alias(name: str, kind: Kind) -> bool:
    if kind == "model":
        return name == EMBEDDED
    if kind != "VAE":
        return False
    return name in (OWN_VAE, TINY_VAE) or find_known_vae(name) is not None


def _exists(path: Path) -> bool:
    """Whether there is something at a path that a file names."""
    with suppress(OSError, ValueError):
        return path.exists()
    return False


def _expand(name: str) -> Path:
    with suppress(RuntimeError):  # no such user, no home
        return Path(name).expanduser()
    return Path(name)
