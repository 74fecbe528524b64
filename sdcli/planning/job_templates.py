"""Remember the jobs of settings that have no faults, which thousands of requests may share."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.job import Job
from sdcli.planning.prompt_syntax import combines_prompts
from sdcli.request import GenerationRequest

_MAX_TEMPLATES: Final = 1024


class JobTemplates:
    """Jobs by the settings of their requests and by model, at most 1024.

    Of the prompts and the seed, faults and settings depend on nothing but whether there is a
    negative prompt, whether it is empty, and whether the prompt combines several with AND.
    `files` are those that the request names, None for none.
    """

    def __init__(self) -> None:
        self._jobs: dict[Hashable, tuple[Job, ModelDefaults]] = {}

    def find(
        self, request: GenerationRequest, defaults: ModelDefaults, files: Hashable
    ) -> Job | None:
        """Return a job with these settings, None if they are not known to have no faults."""
        known = self._jobs.get(_key(request, defaults, files))
        return known[0] if known else None

    def add(
        self, request: GenerationRequest, defaults: ModelDefaults, files: Hashable, job: Job
    ) -> None:
        """Remember the job of a request whose settings have no faults."""
        if len(self._jobs) >= _MAX_TEMPLATES:
            self._jobs.clear()
        # The defaults are kept, so that no others can have their id.
        self._jobs[_key(request, defaults, files)] = job, defaults
        job.prepare_copies()


def _key(request: GenerationRequest, defaults: ModelDefaults, files: Hashable) -> Hashable:
    negative = request.negative_prompt
    kind = (negative is None, bool(negative), combines_prompts(request))
    return id(defaults), kind, files, request.settings
