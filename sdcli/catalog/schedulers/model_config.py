"""Merge the scheduler file of a model with the options of a scheduler name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sdcli.catalog.schedulers.class_options import CONSTRUCTORS

Config = Mapping[str, object]

_CORRECTED: Final[Config] = {"steps_offset": 1, "clip_sample": False}
"""Options that the constructor of StableDiffusionPipeline sets, whatever a model's file says."""


def correct_config(config: Config) -> dict[str, object]:
    """Return a scheduler file's options as StableDiffusionPipeline's constructor corrects them.

    Options that the file leaves out stay out: another class built from the file takes its own
    defaults for them.
    """
    visible = visible_config(config)
    if visible.get("steps_offset", 1) != 1:
        visible["steps_offset"] = 1
    if visible.get("clip_sample") is True:
        visible["clip_sample"] = False
    return visible


def visible_config(config: Config) -> dict[str, object]:
    """Return the options of a scheduler file, without the entries that Diffusers keeps."""
    return {key: value for key, value in config.items() if not key.startswith("_")}


def merge_config(
    class_name: str, model: Config, *, is_models_own: bool = False
) -> dict[str, object]:
    """Return all options of a class on a model: the class's defaults, and the model's over them.

    `is_models_own` tells that the class is the one in the model's file, unchanged. Values of a type
    that the class does not take are left out.
    """
    defaults = dict(CONSTRUCTORS.get(class_name, {}))
    if is_models_own:
        defaults |= {key: value for key, value in _CORRECTED.items() if key in defaults}
    from_model = {
        key: value
        for key, value in model.items()
        if key in defaults and _has_type_of(value, defaults[key])
    }
    return defaults | from_model


def _has_type_of(value: object, default: object) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool | None) and isinstance(value, bool)
    if isinstance(default, int | float):
        return isinstance(value, int | float)
    return default is None or isinstance(value, type(default))


def model_overrides(name_config: Config, model: Config) -> set[str]:
    """Return the options of a sampler's name that give way to those in a model's file.

    A name implies its program's spacing, which suits models trained like Stable Diffusion 1. Only
    a model trained or distilled for it says `trailing`, and is noise or grey without. The others
    describe the model's noise levels, and the name has them for files that leave them out.
    """
    keys = {"set_alpha_to_one"} & name_config.keys() & model.keys()
    if keeps_spacing(model) and "timestep_spacing" in name_config:
        keys.add("timestep_spacing")
    return keys


def keeps_spacing(model: Config) -> bool:
    """Whether the model's own spacing wins over the spacing that a sampler's name implies."""
    return model.get("timestep_spacing") == "trailing"
