"""Requests to jobs as they arrive, each by its model's defaults and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from sdcli.checkpoints.model_defaults import ModelDefaults, read_defaults, unknown_words
from sdcli.job import Job
from sdcli.planning.resolve import resolve_jobs
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest, PipelineSpec

_FULL_MODEL_HINT: Final = (
    "it draws a small world; for any other give a real checkpoint, "
    "as in -m stable-diffusion-v1-5/stable-diffusion-v1-5"
)


class Planner:
    """Requests to jobs, numbered over the whole run. Each word a model never saw is told once.

    `draw` gives a job its seed where none was asked for; `wildcards` fill prompts by it. `look`
    tells a model's defaults and which files it is; left out, it is fetched for that.
    """

    def __init__(
        self,
        warn: Callable[[str], None],
        draw: Callable[[Job], int],
        wildcards: Wildcards | None = None,
        look: Callable[[PipelineSpec], tuple[ModelDefaults, str]] | None = None,
    ) -> None:
        self.warn = warn
        self._draw = draw
        self._wildcards = wildcards
        self._look = look or _fetch_model
        self._planned = 0
        self._known: dict[PipelineSpec, tuple[ModelDefaults, str]] = {}
        self._told: set[str] = set()

    def plan(self, requests: Iterable[GenerationRequest]) -> list[Job]:
        """All images of the requests, in their order. Raises UsageError and ModelError."""
        jobs: list[Job] = []
        for asked in requests:
            defaults, files = self._model(asked.spec)
            for request in self._filled(asked, defaults, files):
                first = self._planned + len(jobs)
                jobs += resolve_jobs(request, defaults, first, fingerprint=files, draw=self._draw)
                if defaults.words is not None:
                    self._tell(unknown_words(request.prompt, defaults.words))
        self._planned += len(jobs)
        return jobs

    def _filled(
        self, request: GenerationRequest, defaults: ModelDefaults, files: str
    ) -> Iterable[GenerationRequest]:
        """The request with its wildcards filled; they wait for a seed that nobody chose."""
        if self._wildcards is None or not self._wildcards.needs_seed(request):
            return [request]
        alone = replace(request, count=1)
        [drawn] = resolve_jobs(alone, defaults, 0, fingerprint=files, draw=self._draw)
        return self._wildcards.expand(replace(request, seed=drawn.seed))

    def _model(self, spec: PipelineSpec) -> tuple[ModelDefaults, str]:
        """What a model wants and which files it is, looked up once a run."""
        if spec not in self._known:
            self._known[spec] = self._look(spec)
        return self._known[spec]

    def _tell(self, words: Iterable[str]) -> None:
        if new := [word for word in words if word not in self._told]:
            self.warn(f"this model was never shown: {', '.join(new)}")
            if not self._told:
                self.warn(_FULL_MODEL_HINT)
            self._told.update(new)


def _fetch_model(spec: PipelineSpec) -> tuple[ModelDefaults, str]:
    from sdcli.checkpoints.fingerprint import fingerprint

    return fetch_defaults(spec), fingerprint(spec)


def fetch_defaults(spec: PipelineSpec) -> ModelDefaults:
    """What the model wants, fetched if it is not here. Raises ModelError."""
    from sdcli.checkpoints.hub import fetch_model

    return read_defaults(fetch_model(spec))
