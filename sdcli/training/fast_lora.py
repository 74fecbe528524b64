"""Train the LoRA that lets the embedded model draw in 4 steps, without guidance.

The student takes four steps of DDIM from the same noise as the teacher, which takes 20 with
guidance. The loss is its distance from the teacher's path after each step, most of all at the end;
its gradient goes through all four steps. This is a distillation of trajectories, like TCD and
Hyper-SD, but with fixed timesteps.
"""

from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sdcli.training.diffusion import SCHEDULER
from sdcli.training.flag_lora import MODEL
from sdcli.training.loop import StepRandom, half_precision
from sdcli.training.low_rank import LowRankChanges, LowRankRun
from sdcli.training.teacher_paths import POINTS, load_paths

STEPS, BATCH, RANK, LEARNING_RATE, SEED = 800, 8, 16, 1.5e-3, 13
PATHS = 1024
CHECKPOINT_STEPS = 50
_WEIGHTS = (0.1, 0.1, 0.2, 1.0)
"""Of the distance from the teacher after each step."""

_ROUNDING = 0.1
"""Distances below this count by their squares, larger ones as they are."""

METADATA = {
    "modelspec.title": "Trajectory distillation of the embedded model, 4 steps",
    "ss_base_model_version": "tiny-emoji-128",
    "ss_network_module": "networks.lora",
    "ss_network_dim": str(RANK),
    "ss_network_alpha": str(RANK),
    "ss_learning_rate": str(LEARNING_RATE),
    "ss_max_train_steps": str(STEPS),
    "ss_num_train_images": str(PATHS),
}
"""The metadata of the file. sdcli recognises the kind and the number of steps by the title."""


class Student:
    """Steps of DDIM with trailing timesteps, through which gradients go."""

    def __init__(self, unet: nn.Module) -> None:
        """Set the UNet that predicts v, and compute the coefficients of each step."""
        scheduler = DDIMScheduler.from_config(SCHEDULER, timestep_spacing="trailing")
        scheduler.set_timesteps(POINTS)
        self.unet, self.timesteps = unet, scheduler.timesteps
        alphas = torch.cat(
            [scheduler.alphas_cumprod[self.timesteps], scheduler.final_alpha_cumprod[None]]
        )
        self._signal, self._noise = alphas.sqrt().tolist(), (1 - alphas).sqrt().tolist()

    def path(self, noise: Tensor, words: Tensor) -> list[Tensor]:
        """Return the latents after each step."""
        x, points = noise, []
        for index, timestep in enumerate(self.timesteps):
            with half_precision():
                v = self.unet(x, timestep, words).sample.float()
            signal, sigma = self._signal[index], self._noise[index]
            clean, predicted_noise = signal * x - sigma * v, signal * v + sigma * x
            x = self._signal[index + 1] * clean + self._noise[index + 1] * predicted_noise
            points.append(x)
        return points


class FastTraining:
    """The state of the training, which a checkpoint in ``folder`` keeps."""

    def __init__(self, model: Path, folder: Path) -> None:
        """Load the model, record the paths of the teacher, and resume from a checkpoint."""
        pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
        self.paths = load_paths(pipeline, folder / "teacher_paths", PATHS)
        torch.manual_seed(SEED)
        pipeline.unet.set_attn_processor(AttnProcessor())
        self.changes = LowRankChanges(pipeline.unet, RANK)
        self.student = Student(pipeline.unet)
        self.run = LowRankRun(
            self.changes, folder / "fast_lora.checkpoint.pt", LEARNING_RATE, STEPS
        )

    def advance(self) -> float:
        """Do one step, and return the mean square distance from the teacher at the end."""
        rng = StepRandom(SEED, 0, self.run.step).numpy
        chosen = torch.from_numpy(rng.choice(PATHS, BATCH, replace=False))
        noise, *teacher = self.paths.latents[:, chosen]
        # All four steps have the same weights, so they are computed once.
        with parametrize.cached():
            student = self.student.path(noise, self.paths.words[chosen])
        distances = [_distance(a, b) for a, b in zip(student, teacher, strict=True)]
        self.run.minimize(torch.stack(distances) @ torch.tensor(_WEIGHTS))
        return float((student[-1] - teacher[-1]).detach().square().mean())


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b).square() + _ROUNDING**2).sqrt().mean() - _ROUNDING


def train_fast_lora(folder: Path, model: Path = MODEL) -> Path:
    """Train or resume, write the LoRA to ``folder`` and return its file."""
    training, target = FastTraining(model, folder), folder / "fast.safetensors"
    run, errors = training.run, list[float]()
    while run.step < STEPS:
        errors.append(training.advance())
        if run.step % CHECKPOINT_STEPS == 0:
            run.save()
            mean = sum(errors[-CHECKPOINT_STEPS:]) / len(errors[-CHECKPOINT_STEPS:])
            print(f"fast_lora  step {run.step}/{STEPS}  distance {mean:.4f}", flush=True)
    save_file(training.changes.state_dict(), target, METADATA)
    return target
