"""Read the defaults of a model together with the properties of its refiner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sdcli.checkpoints.clip_tokenizer import POSITIONS, OtherEncoder
from sdcli.checkpoints.file_state import cache_by_files
from sdcli.checkpoints.hub import fetch_model, refiner_spec
from sdcli.checkpoints.model_defaults import ModelDefaults, describe_model, read_defaults
from sdcli.checkpoints.single_file.model import name_single_file
from sdcli.checkpoints.text_encoder import select_text_encoder
from sdcli.errors import ModelError, SdcliError
from sdcli.pipeline_spec import PipelineSpec


def fetch_defaults(spec: PipelineSpec) -> ModelDefaults:
    """Read the defaults of the spec's model and refiner, after downloading them if necessary.

    Raises the errors of `fetch_model` and `read_defaults`, and ModelError for models that cannot
    share a run.
    """
    # The options of the refiner are checked before anything is downloaded.
    refiner = refiner_spec(spec)
    folder = fetch_model(spec)
    refiner_folder = fetch_model(refiner) if refiner else None
    try:
        defaults = _read(folder, refiner_folder)
        chosen = select_text_encoder(spec, folder)
    except SdcliError as error:
        named = name_single_file(error, spec, folder)
        if refiner and refiner_folder:
            named = name_single_file(named, refiner, refiner_folder)
        raise named from error
    if chosen is None:
        return defaults
    layers = [chosen.config.get("num_hidden_layers", 12)]
    if defaults.xl and defaults.text_encoder_layers:
        layers.append(defaults.text_encoder_layers)
    other = OtherEncoder(
        tokenizer=chosen.tokenizer,
        positions=chosen.config.get("max_position_embeddings", POSITIONS),
    )
    return replace(defaults, text_encoder_layers=min(layers), other_encoder=other)


@cache_by_files
def _read(folder: Path, refiner_folder: Path | None) -> ModelDefaults:
    base = read_defaults(folder)
    if refiner_folder is None:
        return base
    if base.xl is None:
        raise ModelError(
            f"refiner: {folder} is a {base.family} model; only Stable Diffusion XL takes a refiner",
            code="model.refiner",
            hint="leave --refiner out, or use a Stable Diffusion XL model",
        )
    refiner = describe_model(refiner_folder)
    if refiner.xl is None:
        raise ModelError(
            f"refiner: {refiner_folder} is a {refiner.family} model; it must be a Stable Diffusion "
            "XL model, because both work on the same latents",
            code="model.refiner",
            hint="e.g. --refiner stabilityai/stable-diffusion-xl-refiner-1.0",
        )
    if refiner.prediction_type != base.prediction_type:
        raise ModelError(
            f"refiner: {refiner_folder} predicts {refiner.prediction_type}, but {folder} "
            f"{base.prediction_type}",
            code="model.refiner",
            hint="use a refiner with the prediction type of the base model",
        )
    both_keep_features = base.keeps_features and refiner.keeps_features
    return replace(base, refiner=refiner.xl, keeps_features=both_keep_features)
