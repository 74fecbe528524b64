"""List samplers and schedules of other programs that Diffusers lacks, with the nearest one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Diffusers classes that do not work with a Stable Diffusion UNet, by reason.
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
    "it was made for a different model": (
        *("CMStochasticIterativeScheduler", "CogVideoXDDIMScheduler", "CogVideoXDPMScheduler"),
        *("CosineDPMSolverMultistepScheduler", "DDPMWuerstchenScheduler", "KarrasVeScheduler"),
        *("RFD4ProteinaScheduler", "ScoreSdeVeScheduler", "UnCLIPScheduler"),
    ),
    "it turns an image into noise": (
        "DDIMInverseScheduler",
        "DPMSolverMultistepInverseScheduler",
    ),
    "it repaints part of an image": ("RePaintScheduler",),
    "its timesteps are not those of Stable Diffusion": ("IPNDMScheduler",),
}

_ABSENT: Final = "Diffusers does not have it"
_ADAPTIVE: Final = "Diffusers has no adaptive step size"
_DETERMINISTIC: Final = "Diffusers has only its deterministic variant"
_EDM: Final = "it expects a model with EDM preconditioning"
_FLOW: Final = "it expects a flow-matching model"

# Names that end in "CFG++" are missing here: `suggestions` refuses all of them by one rule.
UNSUPPORTED: Final[Mapping[str, tuple[str, str]]] = {
    "DPM++ 2S a": (_DETERMINISTIC, "DPM++ 2S"),
    "dpmpp_2s_ancestral": (_DETERMINISTIC, "DPM++ 2S"),
    "dpm++2mv2": ("Diffusers has only the sampler that it modifies", "DPM++ 2M"),
    "DPM fast": (_ABSENT, "DPM++ 2S"),
    "DPM adaptive": (_ADAPTIVE, "DPM++ 2M"),
    "dpm_ad": (_ADAPTIVE, "DPM++ 2M"),
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
    "sa_solver_pece": ("Diffusers does not call the UNet again after the corrector", "SA-Solver"),
    "IPNDM": ("its timesteps are not those of Stable Diffusion", "DEIS"),
    "IPNDM V": (_ABSENT, "DEIS"),
    "EDMEulerScheduler": (_EDM, "Euler"),
    "EDMDPMSolverMultistepScheduler": (_EDM, "DPM++ 2M"),
    "FlowMatchEulerDiscreteScheduler": (_FLOW, "Euler"),
    "FlowMatchHeunDiscreteScheduler": (_FLOW, "Heun"),
    **{name: (reason, "DDIM") for reason, names in _OTHER_MODELS.items() for name in names},
}
"""Name -> (reason, name of the nearest supported sampler)."""

_TABULATED: Final = "it is a fixed table of noise levels, which Diffusers' schedulers cannot take"

# The nearest schedule was chosen by the distance between the logarithms of 20 noise levels.
UNSUPPORTED_SCHEDULES: Final[Mapping[str, tuple[str, str]]] = {
    "Align Your Steps GITS": (_TABULATED, "Exponential"),
    "Align Your Steps 11": (_TABULATED, "Karras"),
    "Align Your Steps 32": (_TABULATED, "Karras"),
    "Align Your Steps": (_TABULATED, "Karras"),
    "AYS": (_TABULATED, "Karras"),
    "GITS": (_TABULATED, "Exponential"),
    "Polyexponential": ("at rho 1, A1111's default, it is the Exponential schedule", "Exponential"),
    "Beta57": ("the two parameters of Diffusers' Beta schedule cannot be changed", "Karras"),
    "KL Optimal": (_ABSENT, "DDIM Uniform"),
    "Smoothstep": (_ABSENT, "SGM Uniform"),
    "Turbo": ("it is for SD-Turbo, which also works with SGM Uniform", "SGM Uniform"),
    "LCM": ("it belongs to the LCM sampler", "SGM Uniform"),
    "Bong Tangent": ("it was made for flow-matching models", "Normal"),
    "Linear Quadratic": ("it was made for flow-matching models", "Normal"),
}
"""Schedule -> (reason, name of the nearest supported schedule)."""
