"""Read a model from a single file: its configuration, its weights, and what to say about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.file_state import cache_by_files
from sdcli.checkpoints.safetensors_header import SafetensorsHeader, read_header
from sdcli.checkpoints.single_file.config_folder import changed_folder, family_folder
from sdcli.checkpoints.single_file.detection import Detection, detect
from sdcli.checkpoints.single_file.other_kinds import option_hint
from sdcli.checkpoints.single_file.published import identify
from sdcli.checkpoints.single_file.tensor_map import (
    Sources,
    map_component,
    unused_names,
)
from sdcli.checkpoints.single_file.training import Prediction
from sdcli.checkpoints.weight_dtypes import check_dtypes
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.checkpoints.weights import find_weights
from sdcli.errors import ModelError, SdcliError, UsageError, name_some
from sdcli.inputs.paths import expand_user
from sdcli.pipeline_spec import EMBEDDED, PipelineSpec

_WORDS: Final = {
    "unet": "UNet",
    "vae": "VAE",
    "text_encoder": "text encoder",
    "text_encoder_2": "second text encoder",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SingleFileModel:
    """A model in one file.

    `folder` has its configuration in the layout of Diffusers, without weights. `config_folder` is
    the one that the user gave, None if the configuration is that of the family.
    """

    path: Path
    detection: Detection
    folder: Path
    config_folder: Path | None
    notes: tuple[str, ...]
    _header: SafetensorsHeader
    _sources: dict[str, Sources] = field(default_factory=dict)

    def weights(self, component: str) -> WeightFiles:
        """Return the weights of a component.

        What the file lacks is taken from the folder that the user gave with --model-config. Raises
        ModelError for a component that neither has, and CorruptError for missing tensors.
        """
        if component in self.detection.parts:
            return WeightFiles(path=self.path, files=(self.path,), sources=self._map(component))
        if self.config_folder and any((self.config_folder / component).glob("*.safetensors*")):
            return find_weights(self.config_folder / component, component, None)
        raise _missing_part_error(self.path, component)

    @property
    def load_notes(self) -> tuple[str, ...]:
        """Sentences about the file for the user, with those about the parts that were loaded."""
        return (*self.notes, *self._tensor_notes())

    def _map(self, component: str) -> Sources:
        if component not in self._sources:
            kind = "text_encoder" if component == "text_encoder_2" else component
            config = read_config(self.folder / component / "config.json", kind)
            part = self.detection.parts[component]
            sources = map_component(component, config, part, self.path)
            used = {source.name: self._header.tensors[source.name] for source in sources.values()}
            check_dtypes(component, self.path, used)
            self._sources[component] = sources
        return self._sources[component]

    def _tensor_notes(self) -> Iterator[str]:
        parts = self.detection.parts
        extra = list(self.detection.other_names)
        # A part that is replaced, such as by --vae, may be of any kind.
        for component in _WORDS:
            if component in self._sources:
                extra += unused_names(parts[component], self._sources[component])
        if extra:
            count = f"{len(extra)} tensor{'s' if len(extra) > 1 else ''}"
            yield f"{self.path.name}: {count} of no part of the model ignored: {name_some(extra)}"
        if "ema" in parts:
            yield f"{self.path.name}: has EMA weights as well; the plain weights are used"


def refuse_single_file_options(spec: PipelineSpec) -> None:
    """Raise UsageError for options that only a model in a single file has."""
    for name in ("model_config", "prediction_type"):
        if getattr(spec, name) is not None:
            raise UsageError(
                f"{name}: {spec.model} is not a single file, and its own files say this",
                code="usage.single_file",
                hint=f"leave --{name.replace('_', '-')} out"
                + ("; -s 'NAME;prediction_type=...' changes it" if name.endswith("type") else ""),
            )


def refuse_refiner_config(spec: PipelineSpec) -> None:
    """Raise UsageError for the configuration of a refiner that is not in a single file."""
    if spec.refiner_config is None or (spec.refiner and expand_user(spec.refiner).is_file()):
        return
    problem = f"{spec.refiner} is not a single file" if spec.refiner else "there is no refiner"
    raise UsageError(
        f"refiner_config: {problem}",
        code="usage.single_file",
        hint="leave --refiner-config out",
    )


def name_single_file(error: SdcliError, spec: PipelineSpec, folder: Path) -> SdcliError:
    """Return an error about a file's configuration that names the file, not the `folder` of it."""
    if folder == Path() or str(folder) not in error.message or not open_single_file(spec):
        return error
    message = error.message.replace(str(folder), spec.model)
    return type(error)(message, code=error.code, hint=error.hint)


def drop_single_file_options(spec: PipelineSpec) -> PipelineSpec:
    """Return the spec of another model, without the options of a single file if it is none."""
    if expand_user(spec.model).is_file():
        return spec
    return replace(spec, model_config=None, prediction_type=None)


def find_model_weights(spec: PipelineSpec, folder: Path, component: str) -> WeightFiles:
    """Return the weights of a component of the model itself, whatever VAE the spec names.

    `folder` is the one that `fetch_model` returns. Raises ModelError, UnsafeError or CorruptError.
    """
    if single_file := open_single_file(spec):
        return single_file.weights(component)
    return find_weights(folder / component, component, spec.variant)


def open_single_file(spec: PipelineSpec) -> SingleFileModel | None:
    """Return the model of the spec if it is a single file, None otherwise.

    Raises ModelError for a file that holds no model that sdcli can run, and CorruptError for a
    damaged one.
    """
    path = expand_user(spec.model)
    if spec.model == EMBEDDED or not path.is_file():
        return None
    if spec.variant:
        raise UsageError(
            f"variant: {spec.model} is a single file, which has no variants",
            code="usage.single_file",
            hint="leave --variant out",
        )
    config_folder = expand_user(spec.model_config) if spec.model_config else None
    return _open(path, path.with_suffix(".yaml"), config_folder, spec.prediction_type)


@cache_by_files
def _open(
    path: Path, yaml_file: Path, config_folder: Path | None, prediction_type: str | None
) -> SingleFileModel:
    # It may tell the prediction type, so a change of it counts.
    del yaml_file
    header = read_header(path)
    detection = identify(_detect_model(path, header), path, reads=prediction_type is None)
    prediction = _choose_prediction(detection, prediction_type)
    if config_folder:
        folder, notes = _given_folder(config_folder, path, detection, prediction_type)
    else:
        folder, notes = _family_folder(path, detection, prediction)
    return SingleFileModel(
        path=path,
        detection=detection,
        folder=folder,
        config_folder=config_folder,
        notes=tuple(notes),
        _header=header,
    )


def _detect_model(path: Path, header: SafetensorsHeader) -> Detection:
    """Recognise the file. Raises ModelError unless it holds a UNet."""
    detection = detect(header, path)
    if detection.kind == "model":
        return detection
    names = {
        "ema": ("not a whole model", "use the file that has the plain weights as well"),
        "vae": ("a VAE, not a model", option_hint("vae")),
        "text_encoder": ("a text encoder, not a model", None),
        "unknown": ("not a Stable Diffusion model", None),
    }
    kind, hint = names.get(detection.kind, ("not a model", None))
    if detection.other:
        kind = f"{detection.other.name}, not a model"
        hint = option_hint(detection.other.id)
    raise ModelError(
        f"{path} is {kind}: {detection.reasons[0]}",
        code="model.wrong_kind",
        hint=hint or "use a checkpoint of Stable Diffusion 1, 2 or XL",
    )


def _choose_prediction(detection: Detection, prediction_type: str | None) -> Prediction:
    assert detection.prediction is not None
    if prediction_type is None:
        return detection.prediction
    return replace(
        detection.prediction,
        type=prediction_type,
        certainty="stated",
        reason="by --prediction-type",
    )


def _family_folder(
    path: Path, detection: Detection, prediction: Prediction
) -> tuple[Path, list[str]]:
    family = detection.family
    if family is None:
        raise ModelError(
            f"{path}: not a model of a known family: {'; '.join(detection.reasons)}",
            code="model.family",
            hint="--model-config FOLDER gives the configuration of a model of another size",
        )
    if not family.supported:
        raise ModelError(
            f"{path} is a {family.name} model, which sdcli cannot run",
            code="model.family",
            hint="use a text-to-image or inpainting model",
        )
    notes = []
    if prediction.certainty == "guessed":
        notes.append(
            f"{path.name}: prediction type {prediction.type} is a guess ({prediction.reason}); if "
            "the image is noise or grey, set --prediction-type"
        )
    return family_folder(family, prediction, detection.distillation), notes


def _given_folder(
    folder: Path, path: Path, detection: Detection, prediction_type: str | None
) -> tuple[Path, list[str]]:
    if not folder.is_dir():
        raise ModelError(
            f"--model-config: {folder} is not a folder",
            code="model.not_found",
            hint="give a folder in the Diffusers layout; it needs no weights",
        )
    if prediction_type:
        return changed_folder(folder, prediction_type), []
    scheduler = read_config(folder / "scheduler" / "scheduler_config.json", "scheduler")
    chosen = scheduler.get("prediction_type", "epsilon")
    stated = detection.prediction
    if stated and stated.certainty == "stated" and stated.type != chosen:
        return folder, [
            f"{path.name}: {stated.reason}: {stated.type}; {chosen} of --model-config is used"
        ]
    return folder, []


def _missing_part_error(path: Path, component: str) -> ModelError:
    hints: Mapping[str, str] = {
        "vae": "add --vae NAME; `sdcli vae list` shows the known ones",
        "text_encoder": "use a complete checkpoint, or --model-config with the folder of a "
        "complete model",
    }
    return ModelError(
        f"{path} contains no {_WORDS[component]}",
        code="model.incomplete_file",
        hint=hints.get(component, hints["text_encoder"]),
    )
