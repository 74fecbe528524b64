"""Describe a trained LoRA in the metadata of its file, by the names that other programs read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdcli.checkpoints.file_hashes import sha256
from sdcli.inputs.paths import expand_user
from sdcli.lora_training import LoraSettings
from sdcli.pipeline_spec import PipelineSpec, model_name
from sdcli.versions import __version__

if TYPE_CHECKING:
    from sdcli.checkpoints.model_defaults import ModelDefaults
    from sdcli.workflows.train_lora.dataset import Dataset

_FAMILIES: Final = {
    "Stable Diffusion 1": ("sd_v1", "stable-diffusion-v1/lora"),
    "Stable Diffusion 2": ("sd_v2", "stable-diffusion-v2/lora"),
    "Stable Diffusion XL": ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora"),
}
"""Family -> its name in kohya's sd-scripts, and the architecture in the Model Spec."""


def describe_lora(
    out: Path,
    step: int,
    *,
    spec: PipelineSpec,
    defaults: ModelDefaults,
    fingerprint: str,
    settings: LoraSettings,
    dataset: Dataset,
    trigger: str | None,
) -> dict[str, str]:
    """Return the metadata of the LoRA after a step.

    It has no times and no paths, so that the same training writes the same file.
    """
    version, architecture = _FAMILIES.get(defaults.family, (defaults.family, ""))
    size = f"{settings.resolution}x{settings.resolution}"
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": out.stem,
        **({"modelspec.architecture": architecture} if architecture else {}),
        "modelspec.implementation": "diffusers",
        "modelspec.prediction_type": _prediction(defaults.prediction_type),
        "modelspec.resolution": size,
        **({"modelspec.trigger_phrase": trigger} if trigger else {}),
        "ss_base_model_version": version,
        "ss_sd_model_name": _name(spec.model),
        **_hashes(spec),
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(settings.rank),
        "ss_network_alpha": f"{settings.alpha:g}",
        "ss_learning_rate": f"{settings.learning_rate:g}",
        "ss_unet_lr": f"{settings.learning_rate:g}",
        "ss_optimizer": "torch.optim.adamw.AdamW",
        "ss_steps": str(step),
        "ss_num_train_images": str(len(dataset.images)),
        "ss_total_batch_size": str(settings.batch_size),
        "ss_resolution": f"({settings.resolution}, {settings.resolution})",
        "ss_seed": str(settings.seed),
        "ss_tag_frequency": json.dumps({"images": _count_tags(i.caption for i in dataset.images)}),
        "sdcli_version": __version__,
        "sdcli_base_fingerprint": fingerprint,
        "sdcli_dataset_sha256": dataset.sha256,
    }


def _name(model: str) -> str:
    # The folders above a model are private.
    return model_name(model) if expand_user(model).exists() else model


def _prediction(name: str) -> str:
    return {"v_prediction": "v"}.get(name, name)


def _hashes(spec: PipelineSpec) -> dict[str, str]:
    """Return the hash of a model in a single file."""
    path = expand_user(spec.model)
    return {"ss_new_sd_model_hash": sha256(path)} if path.is_file() else {}


def _count_tags(captions: Iterable[str]) -> dict[str, int]:
    """Count the parts of captions between commas, the most frequent first."""
    counts = Counter(tag for c in captions for part in c.split(",") if (tag := part.strip()))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
