"""Find the CLIP image encoder of an IP-Adapter, and check that the two fit together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sdcli.checkpoints.adapters.ip_adapter_file import IpAdapterFile
from sdcli.checkpoints.adapters.lora_names import hub_file
from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.config_sizes import check_sizes
from sdcli.checkpoints.file_hashes import verified_sha256
from sdcli.checkpoints.file_state import cache_by_files, fetch_once
from sdcli.checkpoints.hub import fetch_files, is_hub_id, list_files
from sdcli.checkpoints.hub_cache import cached_snapshot
from sdcli.checkpoints.weight_files import WeightFiles, choose_files, stem_of
from sdcli.checkpoints.weights import check_weights, find_weights, hash_weights
from sdcli.errors import CorruptError, ModelError, SdcliError, quoted
from sdcli.inputs.paths import expand_user

COMPONENT: Final = "image_encoder"

_KIND: Final = "image encoder"
_TYPE: Final = "clip_vision_model"
_FOLDER: Final = re.compile(r"[\w.-]+(/[\w.-]+)*")
_POSITIONS: Final = "position_embedding.weight"


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageEncoder:
    """A CLIP image encoder in a folder. `config` is checked."""

    path: Path
    config_file: Path
    config: Mapping[str, Any]
    files: WeightFiles

    @property
    def sha256(self) -> str:
        """The SHA-256 of its weights. Raises OSError and CorruptError."""
        return hash_weights(self.files, partial(verified_sha256, COMPONENT))


def encoder_name(given: str | None, adapters: Sequence[str]) -> str:
    """Return the name of the image encoder: the one that is given, or that beside an IP-Adapter.

    Raises ModelError if there is neither.
    """
    if given is not None:
        return given
    for name in adapters:
        path = expand_user(name)
        if path.exists():
            beside = path.absolute().parent / COMPONENT
            if beside.is_dir():
                return str(beside)
        elif (repo := hub_file(name)) and repo[1]:
            return str(PurePosixPath(repo[0], repo[1]).parent / COMPONENT)
    raise ModelError(
        f"ip_encoder: there is no folder {COMPONENT} beside {adapters[0]}",
        code="model.not_found",
        hint="name the folder of the CLIP image encoder: --ip-encoder FOLDER",
    )


def find_image_encoder(name: str, *, offline: bool) -> Path:
    """Return the folder of an image encoder, downloaded if necessary. Raises ModelError."""
    path = expand_user(name)
    if path.is_dir():
        return own_folder(path)
    owner, _, rest = name.partition("/")
    repo, _, folder = rest.partition("/")
    is_hub_name = is_hub_id(f"{owner}/{repo}") and (not folder or _FOLDER.fullmatch(folder))
    if not path.exists() and is_hub_name:
        return own_folder(_fetch(f"{owner}/{repo}", folder, offline))
    problem = "is a file" if path.exists() else "does not exist"
    raise ModelError(
        f"{quoted(name)} {problem}; an image encoder is a folder with its config.json",
        code="model.not_found",
        hint="use the folder image_encoder of the IP-Adapter's repository",
    )


def read_image_encoder(name: str, *, offline: bool) -> ImageEncoder:
    """Read an image encoder by its headers. Raises ModelError, UnsafeError and CorruptError."""
    return _read(find_image_encoder(name, offline=offline))


def check_encoder(file: IpAdapterFile, encoder: ImageEncoder) -> None:
    """Raise ModelError for an encoder whose embeddings the IP-Adapter does not take."""
    key = "projection_dim" if file.variant == "plain" else "hidden_size"
    width = encoder.config[key]
    if width != file.image_width:
        raise ModelError(
            f"ip_encoder: {encoder.path} makes image embeddings of width {width}, and "
            f"{file.path.name} takes {file.image_width}",
            code="model.incompatible",
            hint="use the image encoder that the IP-Adapter was trained with",
        )


def is_image_encoder(path: Path) -> bool:
    """Whether a folder has the configuration of an image encoder."""
    with suppress(OSError, SdcliError):
        config = read_config(own_folder(path) / "config.json", COMPONENT)
        return config.get("model_type") == _TYPE
    return False


@cache_by_files
def _read(path: Path) -> ImageEncoder:
    config_file = path / "config.json"
    config = read_config(config_file, COMPONENT)
    if (kind := config.get("model_type")) != _TYPE:
        raise ModelError(
            f"ip_encoder: {path} is {quoted(kind)}, not a CLIP image encoder ({_TYPE})",
            code="model.wrong_kind",
            hint="use the folder image_encoder of the IP-Adapter's repository",
        )
    config = {**_DEFAULTS, **config}
    files = find_weights(path, COMPONENT, None)
    header = check_weights(COMPONENT, files)
    check_sizes(COMPONENT, config_file, header)
    rows = (config["image_size"] // config["patch_size"]) ** 2 + 1
    found = [t.shape[0] for n, t in header.tensors.items() if n.endswith(_POSITIONS) and t.shape]
    if found != [rows]:
        raise CorruptError(
            f"ip_encoder: {config_file}: image_size is {config['image_size']}, which does not fit "
            "the weights",
            code="model.corrupt",
            hint="download it again",
        )
    return ImageEncoder(path=path, config_file=config_file, config=config, files=files)


_DEFAULTS: Final = {"projection_dim": 512, "hidden_size": 768, "image_size": 224, "patch_size": 32}
"""Values that Transformers takes for those that a configuration leaves out."""


def own_folder(path: Path) -> Path:
    """Return the folder of the image encoder in that of a repository, else the path."""
    inner = path / COMPONENT
    return inner if (inner / "config.json").is_file() else path


@fetch_once
def _fetch(repo: str, folder: str, offline: bool) -> Path:
    """Return a folder of a repository on the hub, from the cache if it is there."""
    snapshot = cached_snapshot(repo)
    if snapshot and (snapshot / folder / "config.json").is_file():
        with suppress(SdcliError):
            find_weights(snapshot / folder, COMPONENT, None)
            return snapshot / folder
    if offline:
        raise ModelError(
            f"image encoder {repo}{folder and '/'}{folder} is not in the local cache, and no "
            "download was attempted",
            code="model.offline",
            hint="run the command once without --offline",
        )
    start = f"{folder}/" if folder else ""
    listed = list_files(repo, _KIND)
    names = [name.removeprefix(start) for name in listed if name.startswith(start)]
    chosen = choose_files(names, stem_of(COMPONENT), None)
    if not chosen or "config.json" not in names:
        raise ModelError(
            f"{repo} has no image encoder in {folder or 'its top folder'}",
            code="model.not_found",
            hint="name another one: --ip-encoder owner/name/FOLDER",
        )
    wanted = [start + name for name in ("config.json", *chosen)]
    return fetch_files(repo, wanted, _KIND) / folder
