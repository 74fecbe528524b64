"""Run a scenario by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from sdcli.bench.backends import time_backends, time_full_size_backends
from sdcli.bench.full_size import time_full_size
from sdcli.bench.planning import time_million, time_planning
from sdcli.bench.random_model import model_or_random
from sdcli.bench.savers import time_savers
from sdcli.bench.scenarios import (
    Document,
    shape_prompts,
    time_batch,
    time_loading,
    time_preview,
    time_saving_latents,
    time_single_image,
    time_startup,
)
from sdcli.bench.speed import time_speed
from sdcli.bench.trace import time_trace
from sdcli.bench.warm import time_warm_run
from sdcli.bench.workers import time_workers
from sdcli.checkpoints.hub import fetch_model
from sdcli.pipeline_spec import PipelineSpec


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What a scenario is run with: `count` is that of prompts, where none are given."""

    model: str
    rounds: int
    count: int
    device: str = "cpu"
    given_prompts: Sequence[str] | None = None

    @cached_property
    def folder(self) -> Path:
        """The local folder of the model."""
        return fetch_model(PipelineSpec(model=self.model))

    @property
    def prompts(self) -> Sequence[str]:
        """The prompts of a scenario of many images."""
        return self.given_prompts or shape_prompts(self.count)


_SCENARIOS: Final[Mapping[str, Callable[[BenchOptions], Document]]] = {
    "start": lambda o: time_startup(o.rounds),
    "one": lambda o: time_single_image(o.folder, o.model, o.rounds),
    "batch": lambda o: time_batch(o.folder, o.model, o.prompts, o.rounds),
    "warm": lambda o: time_warm_run(o.folder, o.model, o.rounds),
    "dump": lambda o: time_saving_latents(o.rounds),
    "preview": lambda o: time_preview(o.rounds),
    "trace": lambda o: time_trace(o.rounds),
    "load": lambda o: time_loading(o.rounds),
    "workers": lambda o: time_workers(o.model, o.prompts, o.rounds),
    "planning": lambda o: time_planning(o.rounds),
    "million": lambda o: time_million(),
    "savers": lambda o: time_savers(o.model, o.prompts, o.rounds),
    "full": lambda o: time_full_size(o.rounds),
    "openvino": lambda o: time_backends(o.model, o.rounds),
    "speed": lambda o: time_speed(o.model, o.device, o.rounds),
    "openvino-full": lambda o: time_full_size_backends(o.rounds),
}


OF_A_MODEL: Final = frozenset({"one", "batch", "warm", "workers", "savers", "openvino"})
"""The scenarios that run with the model that is asked for, which may be made for them."""


def run_scenario(name: str, options: BenchOptions) -> Document:
    """Time the commands of a scenario, and return its document."""
    if name not in OF_A_MODEL:
        return _SCENARIOS[name](options)
    with model_or_random(options.model) as model:
        return _SCENARIOS[name](replace(options, model=model))
