"""Record where the UNet's prediction moves when a word of the prompt is replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from sdcli.attention import AttentionSelection, CausalMap, PromptWord, choose_words
from sdcli.catalog.word_kinds import replacements
from sdcli.engine.denoise.run_part import RunPart
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.recorders.hooked import HookedRecorder
from sdcli.engine.recorders.observed_run import ObservedRun
from sdcli.engine.recorders.prompt_words import check_steps, find_prompt_words
from sdcli.engine.runtime.unet_call import last_rows, sample_of, with_prompt
from sdcli.engine.text.conditioning import extend_embedding
from sdcli.engine.text.encoder import JobEncoder, PromptEmbedding

_STEPS = 5
"""UNet calls to measure unless some are selected, spread over the run."""


class CausalRecorder(HookedRecorder):
    """Repeat UNet calls with other words in the prompt, and compare the predictions.

    The latents and everything else of a call are the same, so that only the words' effect is left.
    The extra calls do not change the run. `swaps` has the replacement of a word, for those that are
    not replaced by a word of the same kind. For one image at a time.

    Raises UsageError for words that are not in the prompt.
    """

    def __init__(
        self, run: ObservedRun, selection: AttentionSelection, swaps: Mapping[str, str]
    ) -> None:
        super().__init__()
        if run.images != 1:
            raise ValueError("causal maps are measured for one image at a time")
        words = find_prompt_words(run, 0)
        self.chosen = choose_words(words, (*selection.words,) or (*swaps,))
        things = tuple(w.text for w in words if w.is_content and w.kind is None)
        self._swaps = {w: _choose_swaps(w, things, swaps) for w in self.chosen}
        calls = len(run.runs[0].timesteps)
        check_steps(selection.steps, calls)
        self._steps = frozenset(selection.steps or _spread(calls))
        self._run = run
        self._texts: dict[tuple[int, str], PromptEmbedding] = {}
        self._call = 0
        self._is_repeating = False
        self._moves: dict[PromptWord, list[torch.Tensor]] = {w: [] for w in self.chosen}
        self._shares: dict[PromptWord, list[float]] = {w: [] for w in self.chosen}

    def hooks(self) -> Iterator[RemovableHandle]:
        """Register the hooks of the UNets."""
        for part in self._run.parts:
            yield part.pipeline.unet.register_forward_hook(self._after(part), with_kwargs=True)

    def has_words(self) -> bool:
        """Whether there is a word to replace."""
        return bool(self.chosen)

    def causal_maps(self) -> tuple[CausalMap, ...]:
        """Return the maps of the chosen words, in the order of their choice."""
        return tuple(
            CausalMap(
                word=word,
                replacements=self._swaps[word],
                map=torch.stack(self._moves[word]).mean(0).cpu().numpy(),
                share=sum(self._shares[word]) / len(self._shares[word]),
            )
            for word in self.chosen
        )

    def _after(self, part: RunPart) -> Any:
        @torch.no_grad()
        def hook(unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            # The repeated calls run this hook, too.
            if self._is_repeating:
                return
            self._call += 1
            if self._call not in self._steps:
                return
            self._is_repeating = True
            try:
                # With guidance, the prompt is in the last row, behind the negative one.
                self._repeat(part, unet, args, kwargs, sample_of(output)[-1:])
            finally:
                self._is_repeating = False

        return hook

    def _repeat(
        self,
        part: RunPart,
        unet: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        prediction: torch.Tensor,
    ) -> None:
        batch = len(args[0])
        own, named = (last_rows(value, 1, batch) for value in (args, kwargs))
        for word, others in self._swaps.items():
            for other in others:
                text = self._encode(part, word, other, named["encoder_hidden_states"].shape[1])
                changed = with_prompt(named, text.embeds, text.pooled)
                move = (sample_of(unet(*own, **changed)) - prediction).float()
                # (height/8, width/8): the length of the move of each latent.
                self._moves[word].append(move[0].norm(dim=0))
                self._shares[word].append(float(move.norm() / prediction.float().norm()))

    def _encode(self, part: RunPart, word: PromptWord, other: str, length: int) -> PromptEmbedding:
        """Encode the prompt with another word, in at least so many places."""
        job = self._run.runs[0].job
        prompt = f"{job.prompt[: word.start]}{other}{job.prompt[word.end :]}"
        key = part.first_call, prompt
        # Every measured step needs the same few texts.
        if key not in self._texts:
            encoder = _encoder_of(self._run.loaded, part)
            text = encoder.encode_prompt(replace(job, prompt=prompt))
            self._texts[key] = extend_embedding(encoder, job, text, length)
        return self._texts[key]


def _encoder_of(loaded: LoadedPipeline, part: RunPart) -> JobEncoder:
    is_refined = loaded.refiner is not None and part.first_call > 0
    return loaded.refiner.prompt_encoder if loaded.refiner and is_refined else loaded.prompt_encoder


def _choose_swaps(
    word: PromptWord, things: tuple[str, ...], swaps: Mapping[str, str]
) -> tuple[str, ...]:
    given = swaps.get(word.text.lower())
    return (given,) if given is not None else replacements(word.text, things)


def _spread(calls: int) -> Sequence[int]:
    """Return up to `_STEPS` calls, from the first to shortly before the last."""
    return sorted({1 + i * calls // _STEPS for i in range(_STEPS)})
