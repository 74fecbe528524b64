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

IMPOSSIBLE: Final[Mapping[str, tuple[str, str]]] = {
    "DPM++ 2S a": ("Diffusers has only its deterministic kin", "DPM++ 2S"),
    "dpmpp_2s_ancestral": ("Diffusers has only its deterministic kin", "DPM++ 2S"),
    "DPM fast": ("Diffusers does not have it", "DPM++ 2S"),
    "DPM adaptive": ("Diffusers has no adaptive step size", "DPM++ 2M"),
    "Restart": ("Diffusers does not have it", "Heun"),
    "HeunPP2": ("Diffusers does not have it", "Heun"),
    "ER SDE": ("Diffusers does not have it", "DPM++ 2M SDE"),
    "SEEDS 2": ("Diffusers does not have it", "DPM++ SDE"),
    "SEEDS 3": ("Diffusers does not have it", "DPM++ 3M SDE"),
    "res_multistep": ("Diffusers does not have it", "DPM++ 2M"),
    "gradient_estimation": ("Diffusers does not have it", "Euler"),
    "euler_cfg_pp": ("Diffusers has no CFG++", "Euler"),
    "euler_ancestral_cfg_pp": ("Diffusers has no CFG++", "Euler a"),
    "IPNDM": ("its timesteps are not Stable Diffusion's", "DEIS"),
    "EDMEulerScheduler": ("it expects a model with EDM preconditioning", "Euler"),
    "EDMDPMSolverMultistepScheduler": ("it expects a model with EDM preconditioning", "DPM++ 2M"),
    "FlowMatchEulerDiscreteScheduler": ("it expects a flow-matching model", "Euler"),
    "FlowMatchHeunDiscreteScheduler": ("it expects a flow-matching model", "Heun"),
    **{name: (why, "DDIM") for why, names in _OTHER_MODELS.items() for name in names},
}

# Schedule types of other tools that no Diffusers option gives.
IMPOSSIBLE_SCHEDULES: Final = (
    "Polyexponential",
    "Align Your Steps",
    "AYS",
    "GITS",
    "KL Optimal",
    "Bong Tangent",
    "Linear Quadratic",
    "Smoothstep",
    "Turbo",
)
