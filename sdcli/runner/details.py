"""Print the details of a run for --verbose: model, device, scheduler, and seconds of each phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sdcli.job import Job
from sdcli.result import GenerationResult, SavedImage


class RunDetails:
    """Prints one line when what draws the images changes, and the seconds of each image."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._setup = ""
        self._reported_loads: set[float] = set()

    def add(self, image: SavedImage, result: GenerationResult) -> None:
        """Print the details of a saved image."""
        setup = _describe_setup(result)
        if setup != self._setup:
            self._setup = setup
            self._note(setup)
        seconds = {**result.seconds, "save": image.seconds}
        # Import and load belong to the pipeline: its other images cost no more of them.
        if (load := seconds.get("load", 0.0)) in self._reported_loads:
            seconds.pop("import", None)
            seconds.pop("load", None)
        self._reported_loads.add(load)
        name = "the image" if image.path == "-" else image.path
        together = f" for {result.run.batch_size} images" if result.run.batch_size > 1 else ""
        self._note(f"{name}: seed {result.job.seed}; {_describe_seconds(seconds)}{together}")


def _describe_setup(result: GenerationResult) -> str:
    run, job = result.run, result.job
    vae = f", VAE {job.spec.vae}" if job.spec.vae else ""
    offload = f" (offload {run.offload})" if run.offload else ""
    compiled = ", compiled" if run.compiled else ""
    return (
        f"model {job.spec.model}{vae}, device {run.device}{offload}, dtype {run.dtype}{compiled}, "
        f"scheduler {job.scheduler_label} ({run.scheduler_class}), "
        f"{job.num_inference_steps} steps, guidance {job.guidance_text}, "
        f"{job.width}x{job.height}{_describe_second_pass(job)}"
    )


def _describe_second_pass(job: Job) -> str:
    second = job.second_pass()
    if second is None:
        return ""
    return (
        f", then {second.denoising_steps} steps at {second.width}x{second.height} "
        f"({job.hires_upscaler}, strength {second.strength:g})"
    )


def _describe_seconds(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{phase} {value:.2f} s" for phase, value in seconds.items())
