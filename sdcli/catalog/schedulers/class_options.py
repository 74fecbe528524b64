"""List the constructor options of the scheduler classes, with their defaults.

A copy of the signatures in Diffusers 0.42.1, so that listing and checking options does not import
torch. `tests/engine/schedulers/test_class_options.py` compares it with the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Options = Mapping[str, object]

_INFINITE: Final = float("inf")

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
_FLOW: Final[Options] = {
    "use_flow_sigmas": False,
    "flow_shift": 1.0,
}
_SHIFTING: Final[Options] = {"use_dynamic_shifting": False, "time_shift_type": "exponential"}
_ZERO_SNR: Final[Options] = {"rescale_betas_zero_snr": False}


def _training(start: float = 0.0001, end: float = 0.02, schedule: str = "linear") -> Options:
    return {
        "num_train_timesteps": 1000,
        "beta_start": start,
        "beta_end": end,
        "beta_schedule": schedule,
        "trained_betas": None,
        "prediction_type": "epsilon",
    }


# The ports from k-diffusion default to Stable Diffusion's betas, but not to its scaled_linear
# schedule. A pipeline overrides both with the model's own configuration.
_K_DIFFUSION_TRAINING: Final = _training(0.00085, 0.012)
_LATENT_TRAINING: Final = _training(0.00085, 0.012, "scaled_linear")
_CLIPPED: Final[Options] = {"clip_sample": True, "clip_sample_range": 1.0}
_UNCLIPPED: Final[Options] = {"clip_sample": False, "clip_sample_range": 1.0}
_DDIM: Final = {
    **_training(),
    **_LEADING,
    **_ZERO_SNR,
    **_CLIPPED,
    **_THRESHOLD,
    "set_alpha_to_one": True,
}
_DDPM: Final = {
    **_training(),
    **_LEADING,
    **_ZERO_SNR,
    **_CLIPPED,
    **_THRESHOLD,
    "variance_type": "fixed_small",
}
# Diffusers clips the samples of DDIM and DDPM by default, which suits pixels in -1 to 1. LCM and
# TCD, written for latent models, do not.
_DISTILLED: Final = {
    **_LATENT_TRAINING,
    **_LEADING,
    **_ZERO_SNR,
    **_UNCLIPPED,
    **_THRESHOLD,
    "original_inference_steps": 50,
    "set_alpha_to_one": True,
    "timestep_scaling": 10.0,
}
_K_DIFFUSION: Final = {**_K_DIFFUSION_TRAINING, **_LINSPACE, **_SIGMA_FLAGS}
_SOLVER: Final = {**_training(), **_SIGMA_FLAGS, **_THRESHOLD, **_FLOW}
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
        **_training(),
        **_LEADING,
        "skip_prk_steps": False,
        "set_alpha_to_one": False,
    },
    "LMSDiscreteScheduler": {**_training(), **_LINSPACE, **_SIGMA_FLAGS},
    "EulerDiscreteScheduler": {
        **_training(),
        **_LINSPACE,
        **_SIGMA_FLAGS,
        **_ZERO_SNR,
        "sigma_min": None,
        "sigma_max": None,
        "final_sigmas_type": "zero",
        "interpolation_type": "linear",
        "timestep_type": "discrete",
    },
    "EulerAncestralDiscreteScheduler": {**_training(), **_LINSPACE, **_ZERO_SNR},
    "HeunDiscreteScheduler": {**_K_DIFFUSION, **_UNCLIPPED},
    "KDPM2DiscreteScheduler": _K_DIFFUSION,
    "KDPM2AncestralDiscreteScheduler": _K_DIFFUSION,
    "DPMSolverSDEScheduler": {**_K_DIFFUSION, "noise_sampler_seed": None},
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
        "disable_corrector": (),  # [] in Diffusers; a tuple here, because the table is shared
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

VARIANCE_EXPLODING: Final = frozenset(
    {
        "LMSDiscreteScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "DPMSolverSDEScheduler",
    }
)
"""Classes whose x_t is x_0 + sigma * noise, which they scale to variance 1 for the UNet."""
