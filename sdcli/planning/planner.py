"""Turn requests into jobs as they arrive, with the defaults and files of their models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Final

from sdcli.checkpoints.model_defaults import ModelDefaults, unknown_words
from sdcli.fields.prompt import COMPEL, PLAIN
from sdcli.input_images import InputReader
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.backend_check import check_layers_are_visible
from sdcli.planning.draft import describe_draft
from sdcli.planning.feature_cache_check import check_features_are_computed
from sdcli.planning.guidance_check import check_attention_is_whole
from sdcli.planning.prompt_syntax import WordPlaces, check_word_places
from sdcli.planning.request_embeddings import (
    NO_EMBEDDINGS,
    RequestEmbeddings,
    find_embeddings,
)
from sdcli.planning.request_loras import RequestLoras, take_loras
from sdcli.planning.request_warnings import RequestWarnings
from sdcli.planning.resolve import SeedDrawer, resolve_jobs
from sdcli.prompts.lora_tags import drop_open_tags
from sdcli.prompts.syntax.compel import compel_words
from sdcli.prompts.syntax.presence import has_syntax
from sdcli.prompts.syntax.removal import remove_syntax
from sdcli.request import GenerationRequest

if TYPE_CHECKING:
    from sdcli.prompts.wildcards import Wildcards

ModelFinder = Callable[[PipelineSpec], tuple[ModelDefaults, str]]
"""Finds the defaults of a model and the fingerprint of its files."""

_MOST_WORDS: Final = 100
_FULL_MODEL_HINT: Final = (
    "it only draws a few dozen things; for anything else use a full model, "
    "e.g. -m stable-diffusion-v1-5/stable-diffusion-v1-5"
)


class Planner:
    """Plans requests as jobs, numbered over the whole run.

    `draw_seed` gives a seed to a job whose request has none (by default a random one), and
    `wildcards` fill prompts by it.
    `find_model` is called once per spec; by default it downloads the model. `read_image` describes
    the files that requests start from. `word_places` says what needs the words of prompts in fixed
    places. With `is_local`, no add-on is downloaded. `warn` is called once for each word that
    the model does not know, and for each kind of mistake.
    """

    def __init__(
        self,
        warn: Callable[[str], None],
        draw_seed: SeedDrawer | None = None,
        wildcards: Wildcards | None = None,
        find_model: ModelFinder | None = None,
        read_image: InputReader | None = None,
        word_places: WordPlaces | None = None,
        *,
        is_local: bool = False,
    ) -> None:
        self._warn = warn
        self._draw_seed = draw_seed
        self._wildcards = wildcards
        self._find_model = find_model or _fetch_model
        self._read_image = read_image
        self._word_places = word_places
        self._is_local = is_local
        self._planned = 0
        self._models: dict[PipelineSpec, tuple[ModelDefaults, str]] = {}
        self._reported_words: set[str] = set()
        self._reported_notes: set[str] = set()
        self._warnings = RequestWarnings(warn, fills_wildcards=wildcards is not None)

    def plan(self, requests: Iterable[GenerationRequest]) -> list[Job]:
        """Plan all images of the requests, in their order. Raises UsageError and ModelError."""
        return list(self.plan_lazily(requests))

    def plan_lazily(self, requests: Iterable[GenerationRequest]) -> Iterator[Job]:
        """Yield the images of the requests: one request may have a million.

        Raises UsageError and ModelError.
        """
        for template in requests:
            self._warnings.check(template)
            defaults, fingerprint = self._look_up_model(template.spec)
            for filled in self._fill_wildcards(template, defaults, fingerprint):
                yield from self._plan_filled(filled, defaults, fingerprint)

    def _plan_filled(
        self, filled: GenerationRequest, defaults: ModelDefaults, fingerprint: str
    ) -> Iterator[Job]:
        request, loras = take_loras(filled)
        embeddings = find_embeddings(request, defaults)
        if self._word_places:
            check_word_places(request, defaults, self._word_places, embeddings)
            check_features_are_computed(request, self._word_places.option)
            check_layers_are_visible(request, self._word_places.option)
            check_attention_is_whole(request, self._word_places.option)
        jobs = resolve_jobs(
            request,
            defaults,
            self._planned,
            fingerprint=fingerprint,
            draw_seed=self._draw_seed,
            read_image=self._read_image,
            loras=loras,
            embeddings=embeddings,
            is_local=self._is_local,
        )
        first = next(jobs)
        self._report(request, defaults, loras, embeddings)
        if request.draft:
            self._report_notes({(note := describe_draft(request, first)): note})
        for job in chain((first,), jobs):
            self._planned += 1
            yield job

    def _fill_wildcards(
        self, request: GenerationRequest, defaults: ModelDefaults, fingerprint: str
    ) -> Iterable[GenerationRequest]:
        """Fill wildcards that had to wait for a seed; other requests come back unchanged."""
        if self._wildcards is None or not self._wildcards.needs_seed(request):
            return [request]
        [job] = resolve_jobs(
            replace(drop_open_tags(request), count=1),
            defaults,
            0,
            fingerprint=fingerprint,
            draw_seed=self._draw_seed,
            read_image=self._read_image,
        )
        return self._wildcards.expand(replace(request, seed=job.seed))

    def _look_up_model(self, spec: PipelineSpec) -> tuple[ModelDefaults, str]:
        known = self._models.get(spec)
        if known is None:
            known = self._models[spec] = self._find_model(spec)
        return known

    def _report(
        self,
        request: GenerationRequest,
        defaults: ModelDefaults,
        loras: RequestLoras,
        embeddings: RequestEmbeddings,
    ) -> None:
        """Warn about what is not as asked for, and about words that the model does not know."""
        if loras.notes or embeddings.notes:
            self._report_notes({note: note for note in loras.notes} | {**embeddings.notes})
        # A million prompts may have as many numbers.
        if defaults.words is None or len(self._reported_words) > _MOST_WORDS:
            return
        words = defaults.words
        if loras.words or embeddings is not NO_EMBEDDINGS:
            words = words | loras.words | embeddings.vocabulary
        self._report_words(unknown_words(_words_of(request), words))

    def _report_notes(self, notes: Mapping[str, str]) -> None:
        for key, note in notes.items():
            if key not in self._reported_notes:
                self._reported_notes.add(key)
                self._warn(note)

    def _report_words(self, words: Iterable[str]) -> None:
        new = [word for word in words if word not in self._reported_words]
        if not new:
            return
        self._warn(f"this model does not know these words: {', '.join(new)}")
        if not self._reported_words:
            self._warn(_FULL_MODEL_HINT)
        self._reported_words.update(new)
        if len(self._reported_words) > _MOST_WORDS:
            self._warn("further words that this model does not know are not reported")


def _words_of(request: GenerationRequest) -> str:
    if request.prompt_syntax == COMPEL:
        return compel_words(request.prompt)
    is_plain = request.prompt_syntax == PLAIN or not has_syntax(request.prompt)
    return request.prompt if is_plain else remove_syntax(request.prompt)


def _fetch_model(spec: PipelineSpec) -> tuple[ModelDefaults, str]:
    from sdcli.checkpoints.fingerprint import fingerprint
    from sdcli.checkpoints.refiner import fetch_defaults

    return fetch_defaults(spec), fingerprint(spec)
