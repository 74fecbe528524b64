"""The scheduler classes' constructor options: defaults, what each means, what it takes.

A copy of what Diffusers 0.42.1 says, so that lists and refusals need no torch; a test holds it to
the classes themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Value = object
Options = Mapping[str, Value]

_INFINITE: Final = float("inf")


@dataclass(frozen=True, kw_only=True)
class OptionInfo:
    """What an option means. `takes` lists its words, or says the numbers; empty: it is fixed."""

    meaning: str
    takes: tuple[str, ...] | tuple[float, float] | tuple[int, int] = ()
    fixed: str = ""


def _number(meaning: str, low: float, high: float) -> OptionInfo:
    return OptionInfo(meaning=meaning, takes=(float(low), float(high)))


def _count(meaning: str, low: int, high: int) -> OptionInfo:
    return OptionInfo(meaning=meaning, takes=(low, high))


def _word(meaning: str, *words: str) -> OptionInfo:
    return OptionInfo(meaning=meaning, takes=words)


def _switch(meaning: str) -> OptionInfo:
    return OptionInfo(meaning=meaning, takes=("true", "false"))


def _fixed(meaning: str, why: str) -> OptionInfo:
    return OptionInfo(meaning=meaning, fixed=why)


_FLOW: Final = "it is for flow-matching models"
_OWN: Final = "it is the model's training, not a choice"

OPTION_INFO: Final[Mapping[str, OptionInfo]] = {
    "num_train_timesteps": _fixed("timesteps that the model was trained on", _OWN),
    "beta_start": _number("first noise variance of the training", 1e-6, 0.5),
    "beta_end": _number("last noise variance of the training", 1e-6, 0.999),
    "beta_schedule": _word(
        "how the training went from the first to the last",
        *("linear", "scaled_linear"),
    ),
    "trained_betas": _fixed("all noise variances of the training, one by one", _OWN),
    "prediction_type": _word(
        "what the UNet predicts: the noise, the clean latents, or the velocity between them",
        *("epsilon", "sample", "v_prediction"),
    ),
    "rescale_betas_zero_snr": _switch("shift the noise levels so that the first is pure noise"),
    "timestep_spacing": _word(
        "how steps are laid over the trained timesteps", "leading", "linspace", "trailing"
    ),
    "steps_offset": _count("added to each timestep of 'leading' spacing", 0, 1),
    "use_karras_sigmas": _switch("noise levels after Karras et al. 2022: more steps near the end"),
    "use_exponential_sigmas": _switch("noise levels in equal ratios"),
    "use_beta_sigmas": _switch("noise levels by a beta distribution: more steps at both ends"),
    "use_lu_lambdas": _switch("noise levels evenly in log signal-to-noise, after Lu et al. 2022"),
    "use_flow_sigmas": _fixed("noise levels of flow matching", _FLOW),
    "flow_shift": _fixed("shift of flow matching's noise levels", _FLOW),
    "use_dynamic_shifting": _fixed("shift that depends on the size", _FLOW),
    "time_shift_type": _fixed("form of that shift", _FLOW),
    "shift_terminal": _fixed("where shifted noise levels end", _FLOW),
    "sigma_min": _number("last noise level before zero", 1e-4, 10),
    "sigma_max": _number("first noise level", 0.1, 1000),
    "final_sigmas_type": _word(
        "the level after the last step: none, or the training's smallest", "zero", "sigma_min"
    ),
    "interpolation_type": _word(
        "how levels between trained timesteps are read", "linear", "log_linear"
    ),
    "timestep_type": _fixed(
        "timesteps as trained, or as logarithms of the noise level",
        "it is for models trained on noise levels",
    ),
    "clip_sample": _switch("clip the predicted clean latents; cuts Stable Diffusion's"),
    "clip_sample_range": _number("where clip_sample clips", 0.01, 100),
    "thresholding": _switch("clip by a quantile of the picture; made for pixels, not latents"),
    "dynamic_thresholding_ratio": _number("that quantile", 0.01, 1),
    "sample_max_value": _number("the largest threshold", 1, 100),
    "set_alpha_to_one": _switch("end with no noise rather than the training's smallest"),
    "variance_type": _word(
        "variance of the noise added at each step",
        *("fixed_small", "fixed_small_log", "fixed_large"),
    ),
    "skip_prk_steps": _switch("leave out the Runge-Kutta start, as Stable Diffusion does"),
    "solver_order": _count("order of the solver", 1, 3),
    "predictor_order": _count("order of the predictor", 1, 3),
    "corrector_order": _count("order of the corrector", 1, 3),
    "algorithm_type": _word("which equation is solved, and for what"),
    "solver_type": _word("form of the second-order update"),
    "lower_order_final": _switch("lower the order in the last steps; steadier below 15 steps"),
    "euler_at_final": _switch("end with an Euler step"),
    "lambda_min_clipped": _number("smallest log signal-to-noise that a step begins at", -100, 0),
    "predict_x0": _switch("solve for the clean latents rather than the noise"),
    "disable_corrector": _fixed("steps without the corrector", "it is a list of steps"),
    "solver_p": _fixed("another scheduler as predictor", "it is an object of Python"),
    "tau_func": _fixed("how stochastic each timestep is", "it is a function of Python"),
    "original_inference_steps": _count("steps that the model was distilled from", 1, 1000),
    "timestep_scaling": _number("how fast the boundary conditions rise", 0.1, 1000),
    "noise_sampler_seed": _fixed("seed of its own noise", "--seed decides it"),
}

_SIGMA_FLAGS: Final[Options] = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}
_LINSPACE: Final[Options] = {"timestep_spacing": "linspace", "steps_offset": 0}
_LEADING: Final[Options] = {"timestep_spacing": "leading", "steps_offset": 0}
_THRESHOLD: Final[Options] = {
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
}
_FLOW_OPTIONS: Final[Options] = {
    "use_flow_sigmas": False,
    "flow_shift": 1.0,
}
_SHIFTING: Final[Options] = {"use_dynamic_shifting": False, "time_shift_type": "exponential"}
_ZERO_SNR: Final[Options] = {"rescale_betas_zero_snr": False}


def _trained(start: float = 0.0001, end: float = 0.02, schedule: str = "linear") -> Options:
    return {
        "num_train_timesteps": 1000,
        "beta_start": start,
        "beta_end": end,
        "beta_schedule": schedule,
        "trained_betas": None,
        "prediction_type": "epsilon",
    }


_K_TRAINED: Final = _trained(0.00085, 0.012)
_LATENT_TRAINED: Final = _trained(0.00085, 0.012, "scaled_linear")
_CLIPPED: Final[Options] = {"clip_sample": True, "clip_sample_range": 1.0}
_UNCLIPPED: Final[Options] = {"clip_sample": False, "clip_sample_range": 1.0}
_DDIM: Final = {
    **_trained(),
    **_LEADING,
    **_ZERO_SNR,
    **_CLIPPED,
    **_THRESHOLD,
    "set_alpha_to_one": True,
}
_DDPM: Final = {
    **_trained(),
    **_LEADING,
    **_ZERO_SNR,
    **_CLIPPED,
    **_THRESHOLD,
    "variance_type": "fixed_small",
}
_DISTILLED: Final = {
    **_LATENT_TRAINED,
    **_LEADING,
    **_ZERO_SNR,
    **_UNCLIPPED,
    **_THRESHOLD,
    "original_inference_steps": 50,
    "set_alpha_to_one": True,
    "timestep_scaling": 10.0,
}
_K: Final = {**_K_TRAINED, **_LINSPACE, **_SIGMA_FLAGS}
_SOLVER: Final = {**_trained(), **_SIGMA_FLAGS, **_THRESHOLD, **_FLOW_OPTIONS}
_DPM: Final = {
    **_SOLVER,
    **_SHIFTING,
    "solver_order": 2,
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "final_sigmas_type": "zero",
    "lambda_min_clipped": -_INFINITE,
    "variance_type": None,
}

CONSTRUCTORS: Final[Mapping[str, Options]] = {
    "DDIMScheduler": _DDIM,
    "DDIMParallelScheduler": _DDIM,
    "DDPMScheduler": _DDPM,
    "DDPMParallelScheduler": _DDPM,
    "PNDMScheduler": {
        **_trained(),
        **_LEADING,
        "skip_prk_steps": False,
        "set_alpha_to_one": False,
    },
    "LMSDiscreteScheduler": {**_trained(), **_LINSPACE, **_SIGMA_FLAGS},
    "EulerDiscreteScheduler": {
        **_trained(),
        **_LINSPACE,
        **_SIGMA_FLAGS,
        **_ZERO_SNR,
        "sigma_min": None,
        "sigma_max": None,
        "final_sigmas_type": "zero",
        "interpolation_type": "linear",
        "timestep_type": "discrete",
    },
    "EulerAncestralDiscreteScheduler": {**_trained(), **_LINSPACE, **_ZERO_SNR},
    "HeunDiscreteScheduler": {**_K, **_UNCLIPPED},
    "KDPM2DiscreteScheduler": _K,
    "KDPM2AncestralDiscreteScheduler": _K,
    "DPMSolverSDEScheduler": {**_K, "noise_sampler_seed": None},
    "DPMSolverMultistepScheduler": {
        **_DPM,
        **_LINSPACE,
        **_ZERO_SNR,
        "lower_order_final": True,
        "euler_at_final": False,
        "use_lu_lambdas": False,
    },
    "DPMSolverSinglestepScheduler": {**_DPM, "lower_order_final": False},
    "DEISMultistepScheduler": {
        **_SOLVER,
        **_SHIFTING,
        **_LINSPACE,
        "solver_order": 2,
        "algorithm_type": "deis",
        "solver_type": "logrho",
        "lower_order_final": True,
    },
    "UniPCMultistepScheduler": {
        **_SOLVER,
        **_SHIFTING,
        **_LINSPACE,
        **_ZERO_SNR,
        "solver_order": 2,
        "solver_type": "bh2",
        "predict_x0": True,
        "lower_order_final": True,
        "disable_corrector": (),
        "solver_p": None,
        "final_sigmas_type": "zero",
        "sigma_min": None,
        "sigma_max": None,
        "shift_terminal": None,
    },
    "SASolverScheduler": {
        **_SOLVER,
        **_LINSPACE,
        "predictor_order": 2,
        "corrector_order": 2,
        "algorithm_type": "data_prediction",
        "tau_func": None,
        "lower_order_final": True,
        "lambda_min_clipped": -_INFINITE,
        "variance_type": None,
    },
    "LCMScheduler": _DISTILLED,
    "TCDScheduler": _DISTILLED,
}

# Where a class takes other words than most, or none. Classes also rewrite some words silently
# (DEIS makes logrho of every solver_type); such words are not offered.
_NO_SAMPLE: Final = ("epsilon", "v_prediction")
_DPM_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "algorithm_type": ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"),
    "solver_type": ("midpoint", "heun"),
}
_WORDS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
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
_UNREAD: Final = "the class never reads it"
_FIXED: Final[Mapping[str, Mapping[str, str]]] = {
    "LCMScheduler": dict.fromkeys(
        ("timestep_spacing", "steps_offset", "set_alpha_to_one"), _UNREAD
    ),
    "TCDScheduler": dict.fromkeys(
        (
            *("timestep_spacing", "steps_offset", "timestep_scaling", "set_alpha_to_one"),
            *("clip_sample", "clip_sample_range", *_THRESHOLD),
        ),
        _UNREAD,
    ),
    "DPMSolverMultistepScheduler": {"variance_type": "it is for UNets that predict a variance"},
    "DPMSolverSinglestepScheduler": {"variance_type": "it is for UNets that predict a variance"},
    "SASolverScheduler": {"variance_type": "it is for UNets that predict a variance"},
}


def option_info(class_name: str, key: str) -> OptionInfo:
    """What `key` means to that class, and what it takes there."""
    known = OPTION_INFO[key]
    if why := _FIXED.get(class_name, {}).get(key):
        return OptionInfo(meaning=known.meaning, fixed=why)
    words = _WORDS.get(class_name, {}).get(key)
    return OptionInfo(meaning=known.meaning, takes=words) if words else known
