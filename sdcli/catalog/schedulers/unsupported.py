"""Sampler names that people know and Diffusers cannot do: why, and the nearest that it can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Classes of Diffusers that a Stable Diffusion UNet cannot use, by the reason.
_OTHER_MODELS: Final[Mapping[str, tuple[str, ...]]] = {
    "it expects a flow-matching model": (
        *("FlowMapEulerDiscreteScheduler", "FlowMatchLCMScheduler", "HeliosDMDScheduler"),
        *("HeliosScheduler", "LTXEulerAncestralRFScheduler", "MiniMaxH3Scheduler"),
        *("PiflowScheduler", "SCMScheduler"),
    ),
    "it expects tokens, not latents": (
        *("AmusedScheduler", "BlockRefinementScheduler", "DiscreteDDIMScheduler"),
        *("EntropyBoundScheduler", "VQDiffusionScheduler"),
    ),
    "it expects a model of its own": (
        *("CMStochasticIterativeScheduler", "CogVideoXDDIMScheduler", "CogVideoXDPMScheduler"),
        *("CosineDPMSolverMultistepScheduler", "DDPMWuerstchenScheduler", "KarrasVeScheduler"),
        *("RFD4ProteinaScheduler", "ScoreSdeVeScheduler", "UnCLIPScheduler"),
    ),
    "it walks from a picture to noise": (
        "DDIMInverseScheduler",
        "DPMSolverMultistepInverseScheduler",
    ),
    "it repaints a part of a picture": ("RePaintScheduler",),
    "its timesteps are not Stable Diffusion's": ("IPNDMScheduler",),
}

_ABSENT: Final = "Diffusers does not have it"

# Names ending in CFG++ are all refused by a rule.
UNSUPPORTED: Final[Mapping[str, tuple[str, str]]] = {
    "DPM++ 2S a": ("Diffusers has only its deterministic kin", "DPM++ 2S"),
    "dpmpp_2s_ancestral": ("Diffusers has only its deterministic kin", "DPM++ 2S"),
    "dpm++2mv2": ("Diffusers has only the form that it varies", "DPM++ 2M"),
    "DPM fast": (_ABSENT, "DPM++ 2S"),
    "DPM adaptive": ("Diffusers has no adaptive step size", "DPM++ 2M"),
    "dpm_ad": ("Diffusers has no adaptive step size", "DPM++ 2M"),
    "Restart": (_ABSENT, "Heun"),
    "HeunPP2": (_ABSENT, "Heun"),
    "ER SDE": (_ABSENT, "DPM++ 2M SDE"),
    "SEEDS 2": (_ABSENT, "DPM++ SDE"),
    "SEEDS 3": (_ABSENT, "DPM++ 3M SDE"),
    "exp_heun_2_x0": (_ABSENT, "DPM++ 2S"),
    "exp_heun_2_x0_sde": (_ABSENT, "DPM++ SDE"),
    "res_2s": (_ABSENT, "DPM++ 2S"),
    "res_multistep": (_ABSENT, "DPM++ 2M"),
    "res_multistep_ancestral": (_ABSENT, "DPM++ 2M SDE"),
    "gradient_estimation": (_ABSENT, "Euler"),
    "euler_ge": ("Diffusers has no gradient estimation", "Euler"),
    "sa_solver_pece": ("Diffusers does not ask the UNet again after it corrects", "SA-Solver"),
    "IPNDM": ("its timesteps are not Stable Diffusion's", "DEIS"),
    "IPNDM V": (_ABSENT, "DEIS"),
    "EDMEulerScheduler": ("it expects a model with EDM preconditioning", "Euler"),
    "EDMDPMSolverMultistepScheduler": ("it expects a model with EDM preconditioning", "DPM++ 2M"),
    "FlowMatchEulerDiscreteScheduler": ("it expects a flow-matching model", "Euler"),
    "FlowMatchHeunDiscreteScheduler": ("it expects a flow-matching model", "Heun"),
    **{name: (why, "DDIM") for why, names in _OTHER_MODELS.items() for name in names},
}

_TABULATED: Final = "it is a table of noise levels, which no option of Diffusers' schedulers takes"

# Schedule types of other tools that no Diffusers option gives: why, and the nearest by the
# distance of the logarithms of 20 noise levels.
UNSUPPORTED_SCHEDULES: Final[Mapping[str, tuple[str, str]]] = {
    "Align Your Steps GITS": (_TABULATED, "Exponential"),
    "Align Your Steps 11": (_TABULATED, "Karras"),
    "Align Your Steps 32": (_TABULATED, "Karras"),
    "Align Your Steps": (_TABULATED, "Karras"),
    "AYS": (_TABULATED, "Karras"),
    "GITS": (_TABULATED, "Exponential"),
    "Polyexponential": ("at rho 1, A1111's default, it is the Exponential schedule", "Exponential"),
    "Beta57": ("Diffusers' Beta has its two numbers fixed", "Karras"),
    "KL Optimal": (_ABSENT, "DDIM Uniform"),
    "Smoothstep": (_ABSENT, "SGM Uniform"),
    "Turbo": ("it is SD-Turbo's, which SGM Uniform serves, too", "SGM Uniform"),
    "LCM": ("it goes with the sampler of that name", "SGM Uniform"),
    "Bong Tangent": ("it is made for flow-matching models", "Normal"),
    "Linear Quadratic": ("it is made for flow-matching models", "Normal"),
}
