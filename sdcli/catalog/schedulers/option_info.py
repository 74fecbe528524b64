"""Describe each constructor option of the scheduler classes and the values that it accepts.

Written for Diffusers 0.42.1. `tests/engine/schedulers/test_class_options.py` checks that every
accepted value changes the result of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class OptionInfo:
    """The meaning of an option and the values that it accepts.

    `accepted` is the words that can be typed, or the lowest and highest number; two ints mean that
    only integers are accepted. It is empty when the option cannot be set, for `fixed_reason`.
    """

    description: str
    accepted: tuple[str, ...] | tuple[float, float] | tuple[int, int] = ()
    fixed_reason: str = ""


def _number(description: str, low: float, high: float) -> OptionInfo:
    return OptionInfo(description=description, accepted=(float(low), float(high)))


def _integer(description: str, low: int, high: int) -> OptionInfo:
    return OptionInfo(description=description, accepted=(low, high))


def _words(description: str, *words: str) -> OptionInfo:
    return OptionInfo(description=description, accepted=words)


def _boolean(description: str) -> OptionInfo:
    return OptionInfo(description=description, accepted=("true", "false"))


def _fixed(description: str, reason: str) -> OptionInfo:
    return OptionInfo(description=description, fixed_reason=reason)


_FLOW: Final = "it is for flow-matching models"
_TRAINING: Final = "it is a property of the trained model"
_LEARNED_VARIANCE: Final = "it is for UNets that predict a variance"
_UNREAD: Final = "the class never reads it"

OPTION_INFO: Final[Mapping[str, OptionInfo]] = {
    "num_train_timesteps": _fixed("number of timesteps used in training", _TRAINING),
    "beta_start": _number("first noise variance (beta) used in training", 1e-6, 0.5),
    "beta_end": _number("last noise variance (beta) used in training", 1e-6, 0.999),
    "beta_schedule": _words(
        "how beta rises from beta_start to beta_end",
        *("linear", "scaled_linear"),
    ),
    "trained_betas": _fixed("list of all noise variances used in training", _TRAINING),
    "prediction_type": _words(
        "output of the UNet: the noise, the clean latents, or the velocity between them",
        *("epsilon", "sample", "v_prediction"),
    ),
    "rescale_betas_zero_snr": _boolean("rescale the noise levels so that the first is pure noise"),
    "timestep_spacing": _words(
        "how steps are spread over the trained timesteps", "leading", "linspace", "trailing"
    ),
    "steps_offset": _integer("added to each timestep of 'leading' spacing", 0, 1),
    "use_karras_sigmas": _boolean("noise levels of Karras et al. 2022: more steps near the end"),
    "use_exponential_sigmas": _boolean("noise levels in equal ratios"),
    "use_beta_sigmas": _boolean("noise levels of a beta distribution: more steps at both ends"),
    "use_lu_lambdas": _boolean(
        "noise levels of Lu et al. 2022: even steps in log signal-to-noise ratio"
    ),
    "use_flow_sigmas": _fixed("noise levels of flow matching", _FLOW),
    "flow_shift": _fixed("shift of the flow-matching noise levels", _FLOW),
    "use_dynamic_shifting": _fixed("shift that depends on the image size", _FLOW),
    "time_shift_type": _fixed("formula of the dynamic shift", _FLOW),
    "shift_terminal": _fixed("last of the shifted noise levels", _FLOW),
    "sigma_min": _number("last noise level before zero", 1e-4, 10),
    "sigma_max": _number("first noise level", 0.1, 1000),
    "final_sigmas_type": _words(
        "noise level after the last step: zero, or the smallest used in training",
        *("zero", "sigma_min"),
    ),
    "interpolation_type": _words(
        "interpolation between trained noise levels", "linear", "log_linear"
    ),
    "timestep_type": _fixed(
        "timesteps as trained, or as logarithms of the noise level",
        "it is for models trained on noise levels",
    ),
    "clip_sample": _boolean(
        "clip the predicted clean latents; Stable Diffusion's exceed the range"
    ),
    "clip_sample_range": _number("limit for clip_sample", 0.01, 100),
    "thresholding": _boolean("clip at a quantile of the values; made for pixels, not latents"),
    "dynamic_thresholding_ratio": _number("quantile used by thresholding", 0.01, 1),
    "sample_max_value": _number("largest threshold used by thresholding", 1, 100),
    "set_alpha_to_one": _boolean("end at no noise instead of the smallest trained noise level"),
    "variance_type": _words(
        "variance of the noise added at each step",
        *("fixed_small", "fixed_small_log", "fixed_large"),
    ),
    "skip_prk_steps": _boolean("skip the initial Runge-Kutta steps, as Stable Diffusion does"),
    "solver_order": _integer("solver order", 1, 3),
    "predictor_order": _integer("predictor order", 1, 3),
    "corrector_order": _integer("corrector order", 1, 3),
    "algorithm_type": _words("equation to solve: ODE or SDE, for the noise or the clean latents"),
    "solver_type": _words("form of the second-order update"),
    "lower_order_final": _boolean("lower the order in the last steps; stable below 15 steps"),
    "euler_at_final": _boolean("use an Euler step at the end"),
    "lambda_min_clipped": _number("smallest log signal-to-noise ratio to start a step at", -100, 0),
    "predict_x0": _boolean("solve for the clean latents instead of the noise"),
    "disable_corrector": _fixed("steps to run without the corrector", "it is a list of steps"),
    "solver_p": _fixed("scheduler used as the predictor", "it is a Python object"),
    "tau_func": _fixed("amount of noise at each timestep", "it is a Python function"),
    "original_inference_steps": _integer("steps that the model was distilled from", 1, 1000),
    "timestep_scaling": _number("how fast the boundary conditions rise", 0.1, 1000),
    "noise_sampler_seed": _fixed("seed of the scheduler's noise", "it is set by --seed"),
}

# Classes that differ from the table above. Some also rewrite a word without a warning (DEIS turns
# every solver_type into logrho); such words are not offered.
_NO_SAMPLE: Final = ("epsilon", "v_prediction")
_DPM_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "algorithm_type": ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"),
    "solver_type": ("midpoint", "heun"),
}
_CLASS_WORDS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "PNDMScheduler": {"prediction_type": _NO_SAMPLE},
    "EulerAncestralDiscreteScheduler": {"prediction_type": _NO_SAMPLE},
    "KDPM2DiscreteScheduler": {"prediction_type": _NO_SAMPLE},
    "KDPM2AncestralDiscreteScheduler": {"prediction_type": _NO_SAMPLE},
    "DPMSolverSDEScheduler": {"prediction_type": _NO_SAMPLE},
    "HeunDiscreteScheduler": {"prediction_type": _NO_SAMPLE},
    "DPMSolverMultistepScheduler": _DPM_WORDS,
    "DPMSolverSinglestepScheduler": {
        **_DPM_WORDS,
        "algorithm_type": ("dpmsolver", "dpmsolver++", "sde-dpmsolver++"),
    },
    "DEISMultistepScheduler": {"algorithm_type": ("deis",), "solver_type": ("logrho",)},
    "UniPCMultistepScheduler": {"solver_type": ("bh1", "bh2")},
    "SASolverScheduler": {"algorithm_type": ("data_prediction", "noise_prediction")},
}
_CLASS_FIXED: Final[Mapping[str, Mapping[str, str]]] = {
    # The constructors register these options, but they have no effect on the steps.
    "LCMScheduler": dict.fromkeys(
        ("timestep_spacing", "steps_offset", "set_alpha_to_one"), _UNREAD
    ),
    "TCDScheduler": dict.fromkeys(
        (
            *("timestep_spacing", "steps_offset", "timestep_scaling", "set_alpha_to_one"),
            *("clip_sample", "clip_sample_range", "thresholding"),
            *("dynamic_thresholding_ratio", "sample_max_value"),
        ),
        _UNREAD,
    ),
    "DPMSolverMultistepScheduler": {"variance_type": _LEARNED_VARIANCE},
    "DPMSolverSinglestepScheduler": {"variance_type": _LEARNED_VARIANCE},
    "SASolverScheduler": {"variance_type": _LEARNED_VARIANCE},
}


def option_info(class_name: str, key: str) -> OptionInfo:
    """Return the description of the option `key` and the values that `class_name` accepts for it.

    Raises KeyError for an option that no scheduler class has.
    """
    info = OPTION_INFO[key]
    if reason := _CLASS_FIXED.get(class_name, {}).get(key):
        return OptionInfo(description=info.description, fixed_reason=reason)
    words = _CLASS_WORDS.get(class_name, {}).get(key)
    return OptionInfo(description=info.description, accepted=words) if words else info
