"""Sampler names that people know and Diffusers cannot do: why, and the nearest that it can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

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
    "dpmsolver": ("Diffusers is giving up its first form", "DPM++ 2M"),
    "IPNDM": ("its timesteps are not Stable Diffusion's", "DEIS"),
    "EDMEulerScheduler": ("it expects a model with EDM preconditioning", "Euler"),
    "EDMDPMSolverMultistepScheduler": ("it expects a model with EDM preconditioning", "DPM++ 2M"),
    "FlowMatchEulerDiscreteScheduler": ("it expects a flow-matching model", "Euler"),
    "FlowMatchHeunDiscreteScheduler": ("it expects a flow-matching model", "Heun"),
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
