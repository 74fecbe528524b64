"""The sampler table: one row a sampler. `schedulers` looks names up in it.

Names and their classes follow A1111, ComfyUI, InvokeAI, kohya and the Diffusers overview of
schedulers; the numbers (UNet calls, limits) were measured and are held by tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sdcli.catalog.schedulers.entries import Sampler as Sampler

_SPACED: Final = ("Normal", "SGM Uniform", "DDIM Uniform")
_SIGMAS: Final = ("Normal", "Karras", "Exponential", "Beta")
_ALL: Final = (*_SIGMAS, "SGM Uniform", "DDIM Uniform")
_WITH_LU: Final = (*_SIGMAS, "Lu", "SGM Uniform", "DDIM Uniform")
_EVEN: Final = {"timestep_spacing": "linspace"}
# What Stable Diffusion was trained to be sampled with; the classes' own defaults clip the latents.
_LDM: Final = {"timestep_spacing": "leading", "steps_offset": 1}
_DISTILLED: Final = "for models distilled for it; 1 to 8 steps, guidance up to 2"
_FLAGGED: Final = ("Karras", "Exponential", "Beta", "Lu")
_FIXED_STEPS: Final = "its steps are those that its models were distilled with"


def _multistep(algorithm: str, *, order: int, solver: str = "midpoint") -> Mapping[str, object]:
    return {
        "timestep_spacing": "linspace",
        "algorithm_type": algorithm,
        "solver_order": order,
        "solver_type": solver,
        "final_sigmas_type": "zero",
    }


SAMPLERS: Final = (
    Sampler(
        name="DPM++ 2M",
        class_name="DPMSolverMultistepScheduler",
        order=2,
        aliases=("dpmpp_2m", "dpmsolver++", "dpm++"),
        config=_multistep("dpmsolver++", order=2),
        schedules=_WITH_LU,
        automatic="Karras",
    ),
    Sampler(
        name="DPM++ 3M",
        class_name="DPMSolverMultistepScheduler",
        order=3,
        aliases=("dpmpp_3m",),
        config=_multistep("dpmsolver++", order=3),
        schedules=_WITH_LU,
        automatic="Karras",
    ),
    Sampler(
        name="DPM++ 2M SDE",
        class_name="DPMSolverMultistepScheduler",
        order=2,
        aliases=("dpmpp_2m_sde", "dpmpp_2m_sde_gpu"),
        config=_multistep("sde-dpmsolver++", order=2),
        schedules=_WITH_LU,
        automatic="Exponential",
        stochastic=True,
    ),
    Sampler(
        name="DPM++ 2M SDE Heun",
        class_name="DPMSolverMultistepScheduler",
        order=2,
        aliases=("dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"),
        config=_multistep("sde-dpmsolver++", order=2, solver="heun"),
        schedules=_WITH_LU,
        automatic="Exponential",
        stochastic=True,
    ),
    Sampler(
        name="DPM++ 3M SDE",
        class_name="DPMSolverMultistepScheduler",
        order=3,
        aliases=("dpmpp_3m_sde", "dpmpp_3m_sde_gpu"),
        config=_multistep("sde-dpmsolver++", order=3),
        schedules=_WITH_LU,
        automatic="Exponential",
        stochastic=True,
    ),
    Sampler(
        name="DPM-Solver",
        class_name="DPMSolverMultistepScheduler",
        order=2,
        aliases=("dpmsolver", "dpm_solver"),
        config={**_multistep("dpmsolver", order=2), "final_sigmas_type": "sigma_min"},
        schedules=_SPACED,
        unsupported_schedules=dict.fromkeys(_FLAGGED, "its last step would do nothing"),
        note="the first form, without ++; Diffusers means to drop it",
    ),
    Sampler(
        name="DPM++ 2S",
        class_name="DPMSolverSinglestepScheduler",
        order=2,
        aliases=("dpmpp_2s", "dpmsingle"),
        config={"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}
        | {"final_sigmas_type": "zero", "lower_order_final": True},
        schedules=_SIGMAS,
        automatic="Karras",
    ),
    Sampler(
        name="DPM++ SDE",
        class_name="DPMSolverSDEScheduler",
        order=2,
        aliases=("dpmpp_sde", "dpmpp_sde_gpu"),
        config=_EVEN,
        schedules=_ALL,
        automatic="Karras",
        unet_call_formula="2N-1",
        stochastic=True,
        package="torchsde",
    ),
    Sampler(
        name="DPM2",
        class_name="KDPM2DiscreteScheduler",
        order=2,
        aliases=("dpm_2", "k_dpm_2", "kdpm_2"),
        config=_EVEN,
        schedules=_ALL,
        automatic="Karras",
        unet_call_formula="2N-1",
    ),
    Sampler(
        name="DPM2 a",
        class_name="KDPM2AncestralDiscreteScheduler",
        order=2,
        aliases=("dpm_2_a", "dpm_2_ancestral", "k_dpm_2_a", "kdpm_2_a"),
        config=_EVEN,
        schedules=_ALL,
        automatic="Karras",
        unet_call_formula="2N-1",
        stochastic=True,
        note="poor below 8 steps",
    ),
    Sampler(
        name="Euler",
        class_name="EulerDiscreteScheduler",
        order=1,
        aliases=("k_euler",),
        config={**_EVEN, "final_sigmas_type": "zero"},
        schedules=_ALL,
        is_multistep=False,
    ),
    Sampler(
        name="Euler a",
        class_name="EulerAncestralDiscreteScheduler",
        order=1,
        aliases=("euler_ancestral", "k_euler_a", "k_euler_ancestral"),
        config=_EVEN,
        schedules=_SPACED,
        stochastic=True,
        is_multistep=False,
    ),
    Sampler(
        name="Heun",
        class_name="HeunDiscreteScheduler",
        order=2,
        aliases=("k_heun",),
        config=_EVEN,
        schedules=_ALL,
        unet_call_formula="2N-1",
    ),
    Sampler(
        name="LMS",
        class_name="LMSDiscreteScheduler",
        order=4,
        aliases=("k_lms",),
        config=_EVEN,
        schedules=_ALL,
        package="scipy",
    ),
    Sampler(
        name="DDIM",
        class_name="DDIMScheduler",
        order=1,
        config={**_LDM, "clip_sample": False, "set_alpha_to_one": False},
        schedules=_SPACED,
        natural="DDIM Uniform",
        takes_eta=True,
        is_multistep=False,
    ),
    Sampler(
        name="DDIM Parallel",
        class_name="DDIMParallelScheduler",
        order=1,
        config={**_LDM, "clip_sample": False, "set_alpha_to_one": False},
        schedules=_SPACED,
        natural="DDIM Uniform",
        takes_eta=True,
        is_multistep=False,
        note="DDIM, made for solving all steps at once; alone it is the same",
    ),
    Sampler(
        name="DDPM",
        class_name="DDPMScheduler",
        order=1,
        config={**_LDM, "clip_sample": False},
        schedules=_SPACED,
        natural="DDIM Uniform",
        stochastic=True,
        is_multistep=False,
        note="made for hundreds of steps",
    ),
    Sampler(
        name="DDPM Parallel",
        class_name="DDPMParallelScheduler",
        order=1,
        config={**_LDM, "clip_sample": False},
        schedules=_SPACED,
        natural="DDIM Uniform",
        stochastic=True,
        is_multistep=False,
        note="DDPM, made for solving all steps at once; alone it is the same",
    ),
    Sampler(
        name="PLMS",
        class_name="PNDMScheduler",
        order=4,
        aliases=("pndm",),
        config={**_LDM, "set_alpha_to_one": False, "skip_prk_steps": True},
        schedules=_SPACED,
        natural="DDIM Uniform",
        unet_call_formula="N+1",
    ),
    Sampler(
        name="UniPC",
        class_name="UniPCMultistepScheduler",
        order=2,
        aliases=("uni_pc", "uni_pc_bh2"),
        config={**_EVEN, "solver_order": 2, "solver_type": "bh2", "final_sigmas_type": "zero"},
        schedules=_ALL,
        note="bh2; A1111's UniPC and ComfyUI's uni_pc are bh1, NaN here at sigma 0",
    ),
    Sampler(
        name="DEIS",
        class_name="DEISMultistepScheduler",
        order=2,
        config={**_EVEN, "solver_order": 2, "algorithm_type": "deis", "solver_type": "logrho"},
        schedules=_ALL,
    ),
    Sampler(
        name="SA-Solver",
        class_name="SASolverScheduler",
        order=2,
        config={**_EVEN, "algorithm_type": "data_prediction"},
        schedules=_SPACED,
        unsupported_schedules=dict.fromkeys(_FLAGGED[:3], "in this class it diverges in few steps"),
        stochastic=True,
    ),
    Sampler(
        name="LCM",
        class_name="LCMScheduler",
        order=1,
        config={"clip_sample": False},
        schedules=("Normal", "SGM Uniform"),
        natural="SGM Uniform",
        unsupported_schedules=dict.fromkeys((*_FLAGGED, "DDIM Uniform"), _FIXED_STEPS),
        stochastic=True,
        is_multistep=False,
        max_steps=50,
        note=_DISTILLED,
    ),
    Sampler(
        name="TCD",
        class_name="TCDScheduler",
        order=1,
        schedules=("Normal", "SGM Uniform"),
        natural="SGM Uniform",
        unsupported_schedules=dict.fromkeys((*_FLAGGED, "DDIM Uniform"), _FIXED_STEPS),
        takes_eta=True,
        is_multistep=False,
        max_steps=50,
        note=_DISTILLED,
    ),
)
