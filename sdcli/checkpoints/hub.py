"""Where a model lies: a folder, the embedded one, or the Hugging Face cache. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from sdcli.catalog.known_vaes import OWN, TINY, VAES, find_known_vae
from sdcli.checkpoints import weights
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import ModelError, UnsafeError, did_you_mean
from sdcli.request import EMBEDDED, PipelineSpec

_TIMEOUT_SECONDS = 10.0
"""Seconds to wait for the hub before using what is cached."""

_FILES = (".safetensors", *weights.PICKLE_SUFFIXES)
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)
_TEXT_FILES = re.compile(
    r"(model_index|config|sdcli)\.json"
    r"|(unet|vae|text_encoder)/config\.json|(scheduler|tokenizer)/[\w.-]+\.(json|txt)"
)


def fetch_model(spec: PipelineSpec) -> Path:
    """The local folder of the spec's model; a hub id is downloaded unless cached or offline.

    Raises ModelError (missing, gated, unreachable, not a folder) and UnsafeError (a pickle file).
    """
    if spec.model == EMBEDDED:
        return EMBEDDED_FOLDER
    return _locate(spec.model, spec, "model")


def fetch_vae(spec: PipelineSpec, model_folder: Path) -> Path:
    """The VAE to use: a folder with config.json, or the one .safetensors file that was asked for.

    Raises as `fetch` does.
    """
    if spec.vae in (None, OWN):
        return model_folder / "vae"
    if spec.vae == TINY:
        return _tiny(spec, model_folder)
    row = find_known_vae(spec.vae)
    path = _locate(row.repo if row else spec.vae, spec, "VAE")
    return path / "vae" if (path / "vae" / "config.json").is_file() else path


def _tiny(spec: PipelineSpec, model_folder: Path) -> Path:
    folder = model_folder / "vae_tiny"
    if not folder.is_dir():
        raise ModelError(
            f"{spec.model} has no small VAE of its own",
            code="model.no_tiny_vae",
            hint="--vae taesd fits Stable Diffusion 1 and 2",
        )
    return folder


def _locate(name: str, spec: PipelineSpec, what: str) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        return _single_file(path, what)
    if _HUB_ID.fullmatch(name) and path.suffix not in _FILES:
        return _from_hub(name, spec, what)
    raise ModelError(
        f"no {what} at {name!r}",
        code="model.not_found",
        hint=did_you_mean(name, _aliases(what))
        or "give a folder, a Hugging Face id such as owner/name, or leave it out",
    )


def _aliases(what: str) -> list[str]:
    rows = [row.name for row in VAES]
    return [OWN, TINY, *rows] if what == "VAE" else [EMBEDDED]


def _single_file(path: Path, what: str) -> Path:
    if path.suffix in weights.PICKLE_SUFFIXES:
        raise UnsafeError(
            f"{path} is a pickle, which can run code when loaded",
            code="model.pickle",
            hint="use a folder or repository with .safetensors files",
        )
    if what == "VAE" and path.suffix == ".safetensors":
        return path
    raise ModelError(
        f"{path} is a file; a {what} is a folder in Diffusers' layout",
        code="model.not_a_folder",
        hint="give a .safetensors file, a folder or a Hugging Face id"
        if what == "VAE"
        else "convert it: StableDiffusionPipeline.from_single_file(...).save_pretrained(...)",
    )


def _from_hub(repo: str, spec: PipelineSpec, what: str) -> Path:
    # huggingface_hub costs little, but nothing needs it for the embedded model.
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined] # whichever it uses

    if spec.offline:
        return _cached(repo, what, "the hub was not asked")
    try:
        siblings = HfApi().model_info(repo, timeout=_TIMEOUT_SECONDS).siblings or ()
        names = needed_files([sibling.rfilename for sibling in siblings], spec.variant)
        return Path(snapshot_download(repo, allow_patterns=names))
    except GatedRepoError as error:
        raise ModelError(
            f"{what} {repo} is gated",
            code="model.gated",
            hint=f"accept its licence at https://huggingface.co/{repo}, then `hf auth login`",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"no {what} {repo} on the hub, or it is private",
            code="model.not_found",
            hint="check the spelling; for a private one `hf auth login`",
        ) from error
    except (httpx.HTTPError, OSError) as error:
        return _cached(repo, what, f"the hub cannot be reached ({error})".splitlines()[0])


def _cached(repo: str, what: str, why: str) -> Path:
    """The folder of what was downloaded before. `snapshot_download` cannot tell offline: it takes
    our choice of files for an incomplete download."""
    from huggingface_hub import try_to_load_from_cache

    for name in ("model_index.json", "config.json"):
        path = try_to_load_from_cache(repo, name)
        if isinstance(path, str):
            return Path(path).parent
    raise ModelError(
        f"{what} {repo} is not in the local cache, and {why}",
        code="model.offline",
        hint=f"once, with a network: hf download {repo}",
    )


def needed_files(names: Iterable[str], variant: str | None) -> list[str]:
    """The files of a repository that will be read: configs, tokenizer, one weight file each."""
    names = list(names)
    chosen = [name for name in names if _TEXT_FILES.fullmatch(name)]
    homes = {f"{component}/": stem for component, stem in weights.STEMS.items()}
    if "model_index.json" not in names:  # a repository that is one VAE
        homes[""] = weights.STEMS["vae"]
    for home, stem in homes.items():
        inside = [name.removeprefix(home) for name in names if name.startswith(home)]
        if file := weights.choose_weight_file(inside, stem, variant):
            chosen.append(home + file)
    return chosen
