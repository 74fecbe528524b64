"""Fetch models and VAEs by name: local paths, the embedded model and the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sdcli.catalog.hub_names import model_name_hint
from sdcli.catalog.known_vaes import OWN_VAE, TINY_VAE, find_known_vae
from sdcli.checkpoints.locate import Kind, find_local, find_tiny_vae, not_found_error
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.single_file.model import open_single_file, refuse_single_file_options
from sdcli.checkpoints.weight_files import PICKLE_SUFFIXES, STEMS, choose_files
from sdcli.errors import ModelError
from sdcli.pipeline_spec import EMBEDDED, PipelineSpec

_TIMEOUT_SECONDS: Final = 10.0
"""Seconds to wait for the hub before falling back to the cache."""

_WEIGHT_SUFFIXES: Final = (".safetensors", *PICKLE_SUFFIXES)
_HUB_ID: Final = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)
_TEXT_FILES: Final = re.compile(
    r"(model_index|config|sdcli)\.json"
    r"|(unet|vae|text_encoder)/config\.json|(scheduler|tokenizer)/[\w.-]+\.(json|txt)"
)


def fetch_model(spec: PipelineSpec) -> Path:
    """Return the local folder of the model, downloading it if it is a Hugging Face id.

    That of a model in a single file has its configuration only; `find_model_weights` returns the
    weights of both kinds. The cache is used for what was downloaded before, and alone if
    `spec.offline` is set or the hub is unreachable. Raises ModelError if the model is missing,
    gated, unreachable or of an unknown kind, UnsafeError for a pickle, CorruptError for a damaged
    file, and UsageError for an option that is not for this kind of model.
    """
    path = EMBEDDED_FOLDER if spec.model == EMBEDDED else _fetch(spec.model, spec, "model")
    if single_file := open_single_file(spec):
        return single_file.folder
    refuse_single_file_options(spec)
    return path


def fetch_vae(spec: PipelineSpec, model_folder: Path) -> Path:
    """Return the VAE to use: a folder with config.json, or a single .safetensors file.

    Raises the errors of `fetch_model`.
    """
    if spec.vae in (None, OWN_VAE):
        return model_folder / "vae"
    if spec.vae == TINY_VAE:
        return find_tiny_vae(spec.model, model_folder)
    known_vae = find_known_vae(spec.vae)
    path = _fetch(known_vae.repo if known_vae else spec.vae, spec, "VAE")
    # A whole model can be given in place of a VAE.
    return path / "vae" if (path / "vae" / "config.json").is_file() else path


def needed_files(names: Iterable[str], variant: str | None) -> list[str]:
    """Select the files to download from a repository's file names.

    These are the configurations, the tokenizer and one weight file for each component.
    """
    names = list(names)
    selected = [name for name in names if _TEXT_FILES.fullmatch(name)]
    stems = {f"{component}/": stem for component, stem in STEMS.items()}
    if "model_index.json" not in names:  # a repository that holds only a VAE, at its top level
        stems[""] = STEMS["vae"]
    for folder, stem in stems.items():
        files = [name.removeprefix(folder) for name in names if name.startswith(folder)]
        selected += [folder + file for file in choose_files(files, stem, variant)]
    return selected


def _fetch(name: str, spec: PipelineSpec, kind: Kind) -> Path:
    if path := find_local(name, kind):
        return path
    # "folder/model.safetensors" looks like an id, but is a path with a typing mistake.
    if not _HUB_ID.fullmatch(name) or Path(name).suffix in _WEIGHT_SUFFIXES:
        raise not_found_error(name, kind)
    if spec.offline:
        return _find_cached(name, kind, "no download was attempted")
    return _download(name, spec.variant, kind)


def _download(repo: str, variant: str | None, kind: Kind) -> Path:
    # Imported here, because the embedded model and local folders do not need it.
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    # huggingface_hub has changed its HTTP client between versions; this is the one it uses.
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    try:
        siblings = HfApi().model_info(repo, timeout=_TIMEOUT_SECONDS).siblings or ()
        names = needed_files([sibling.rfilename for sibling in siblings], variant)
        return Path(snapshot_download(repo, allow_patterns=names))
    except GatedRepoError as error:  # a subclass of RepositoryNotFoundError
        raise ModelError(
            f"{kind} {repo} is gated",
            code="model.gated",
            hint=f"accept its licence at https://huggingface.co/{repo}, then `hf auth login`",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{kind} {repo} does not exist on the hub, or it is private",
            code="model.not_found",
            hint=model_name_hint(repo)
            or "check the spelling; for a private repository run `hf auth login`",
        ) from error
    except (httpx.HTTPError, OSError) as error:
        reason = f"the hub cannot be reached ({error})".splitlines()[0]
        return _find_cached(repo, kind, reason)


def _find_cached(repo: str, kind: Kind, reason: str) -> Path:
    """Return the folder of an earlier download. Raises ModelError if there is none.

    `reason` tells why it is not downloaded now.
    """
    from huggingface_hub import try_to_load_from_cache

    # Not snapshot_download(local_files_only=True): without a network it cannot list the files, and
    # takes a download that was limited to some of them for incomplete.
    for name in ("model_index.json", "config.json"):
        path = try_to_load_from_cache(repo, name)
        # The result is None for an unknown file and a sentinel object for one known to be missing.
        if isinstance(path, str):
            return Path(path).parent
    raise ModelError(
        f"{kind} {repo} is not in the local cache, and {reason}",
        code="model.offline",
        hint=f"download it once while online: hf download {repo}",
    )
