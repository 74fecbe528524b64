"""List the samplers: one row for each, with its names, class and options.

Names and classes follow A1111, ComfyUI, InvokeAI, kohya and the scheduler overview in the Diffusers
documentation. `tests/engine/schedulers/test_sampler_table.py` compares the table with Diffusers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sdcli.catalog.schedulers.sampler_types import Sampler

_SPACINGS: Final = ("Normal", "SGM Uniform", "DDIM Uniform")
_SIGMAS: Final = ("Normal", "Karras", "Exponential", "Beta")
_ALL: Final = (*_SIGMAS, "SGM Uniform", "DDIM Uniform")
_WITH_LU: Final = (*_SIGMAS, "Lu", "SGM Uniform", "DDIM Uniform")
# Named explicitly, because a model's own configuration may have another spacing.
_LINSPACE: Final = {"timestep_spacing": "linspace"}
# The spacing in Stable Diffusion's own scheduler configuration.
_LEADING: Final = {"timestep_spacing": "leading", "steps_offset": 1}
_DISTILLED: Final = "for models distilled for it; 1 to 8 steps, guidance up to 2"
_SIGMA_FLAGS: Final = ("Karras", "Exponential", "Beta", "Lu")
_FIXED_STEPS: Final = "its steps are fixed by the distillation of its models"


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
        schedules=_SPACINGS,
        unsupported_schedules=dict.fromkeys(_SIGMA_FLAGS, "the last step would do nothing"),
        note="the first version, without ++; deprecated in Diffusers",
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
        config=_LINSPACE,
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
        config=_LINSPACE,
        schedules=_ALL,
        automatic="Karras",
        unet_call_formula="2N-1",
    ),
    Sampler(
        name="DPM2 a",
        class_name="KDPM2AncestralDiscreteScheduler",
        order=2,
        aliases=("dpm_2_a", "dpm_2_ancestral", "k_dpm_2_a", "kdpm_2_a"),
        config=_LINSPACE,
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
        config={**_LINSPACE, "final_sigmas_type": "zero"},
        schedules=_ALL,
        is_multistep=False,
    ),
    Sampler(
        name="Euler a",
        class_name="EulerAncestralDiscreteScheduler",
        order=1,
        aliases=("euler_ancestral", "k_euler_a", "k_euler_ancestral"),
        config=_LINSPACE,
        schedules=_SPACINGS,
        stochastic=True,
        is_multistep=False,
    ),
    Sampler(
        name="Heun",
        class_name="HeunDiscreteScheduler",
        order=2,
        aliases=("k_heun",),
        config=_LINSPACE,
        schedules=_ALL,
        unet_call_formula="2N-1",
    ),
    Sampler(
        name="LMS",
        class_name="LMSDiscreteScheduler",
        order=4,
        aliases=("k_lms",),
        config=_LINSPACE,
        schedules=_ALL,
        package="scipy",
    ),
    # clip_sample, which DDIM and DDPM default to, would clip the latents of Stable Diffusion.
    Sampler(
        name="DDIM",
        class_name="DDIMScheduler",
        order=1,
        config={**_LEADING, "clip_sample": False, "set_alpha_to_one": False},
        schedules=_SPACINGS,
        default_schedule="DDIM Uniform",
        takes_eta=True,
        is_multistep=False,
    ),
    Sampler(
        name="DDIM Parallel",
        class_name="DDIMParallelScheduler",
        order=1,
        config={**_LEADING, "clip_sample": False, "set_alpha_to_one": False},
        schedules=_SPACINGS,
        default_schedule="DDIM Uniform",
        takes_eta=True,
        is_multistep=False,
        note="same as DDIM; written for solving all steps in parallel",
    ),
    Sampler(
        name="DDPM",
        class_name="DDPMScheduler",
        order=1,
        config={**_LEADING, "clip_sample": False},
        schedules=_SPACINGS,
        default_schedule="DDIM Uniform",
        stochastic=True,
        is_multistep=False,
        note="needs hundreds of steps",
    ),
    Sampler(
        name="DDPM Parallel",
        class_name="DDPMParallelScheduler",
        order=1,
        config={**_LEADING, "clip_sample": False},
        schedules=_SPACINGS,
        default_schedule="DDIM Uniform",
        stochastic=True,
        is_multistep=False,
        note="same as DDPM; written for solving all steps in parallel",
    ),
    Sampler(
        name="PLMS",
        class_name="PNDMScheduler",
        order=4,
        aliases=("pndm",),
        config={**_LEADING, "set_alpha_to_one": False, "skip_prk_steps": True},
        schedules=_SPACINGS,
        default_schedule="DDIM Uniform",
        unet_call_formula="N+1",
    ),
    Sampler(
        name="UniPC",
        class_name="UniPCMultistepScheduler",
        order=2,
        aliases=("uni_pc", "uni_pc_bh2"),
        config={**_LINSPACE, "solver_order": 2, "solver_type": "bh2", "final_sigmas_type": "zero"},
        schedules=_ALL,
        note="uses bh2; A1111's UniPC and ComfyUI's uni_pc use bh1 (NaN here)",
    ),
    Sampler(
        name="DEIS",
        class_name="DEISMultistepScheduler",
        order=2,
        config={**_LINSPACE, "solver_order": 2, "algorithm_type": "deis", "solver_type": "logrho"},
        schedules=_ALL,
    ),
    Sampler(
        name="SA-Solver",
        class_name="SASolverScheduler",
        order=2,
        config={**_LINSPACE, "algorithm_type": "data_prediction"},
        schedules=_SPACINGS,
        unsupported_schedules=dict.fromkeys(
            _SIGMA_FLAGS[:3], "in this class it diverges when there are few steps"
        ),
        stochastic=True,
    ),
    # LCM and TCD always use the timesteps of the distillation, which SGM Uniform spaces alike.
    Sampler(
        name="LCM",
        class_name="LCMScheduler",
        order=1,
        config={"clip_sample": False},
        schedules=("Normal", "SGM Uniform"),
        default_schedule="SGM Uniform",
        unsupported_schedules=dict.fromkeys((*_SIGMA_FLAGS, "DDIM Uniform"), _FIXED_STEPS),
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
        default_schedule="SGM Uniform",
        unsupported_schedules=dict.fromkeys((*_SIGMA_FLAGS, "DDIM Uniform"), _FIXED_STEPS),
        takes_eta=True,
        is_multistep=False,
        max_steps=50,
        note=_DISTILLED,
    ),
)
