"""Read the embeddings of a run's prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from numpy.typing import NDArray

from sdcli.engine.recorders.hooked import HookedRecorder
from sdcli.engine.recorders.host_copy import to_array
from sdcli.engine.recorders.observed_run import ObservedRun
from sdcli.engine.recorders.prompt_words import find_prompt_words


class PromptEmbedsRecorder(HookedRecorder):
    """Keep the embeddings of the first image's prompt, and count the tokens of its words."""

    embeds: NDArray[Any]
    tokens: int

    def __init__(self, run: ObservedRun) -> None:
        super().__init__()
        self._run = run

    def hooks(self) -> Iterator[AbstractContextManager[Any]]:
        """Read both; the UNets need no hooks."""
        embeds = self._run.parts[0].conditioning.prompt_embeds[0]
        self.embeds = to_array(embeds.detach().to("cpu"))
        self.tokens = sum(len(word.tokens) for word in find_prompt_words(self._run, 0))
        return iter(())
