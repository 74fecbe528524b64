"""Vocabulary of a traced run: the measurements of each UNet call, and where they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from sdcli.attention import PromptWord
from sdcli.result import RunInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONDITIONAL: Final = "cond"
UNCONDITIONAL: Final = "uncond"
ATTENTION: Final = "attention"
PROMPT_EMBEDS: Final = "prompt_embeds"
NEGATIVE_PROMPT_EMBEDS: Final = "negative_prompt_embeds"


@dataclass(frozen=True, kw_only=True)
class PromptToken:
    """A token of the text encoder's input, with the length of its embedding.

    `word` is the index of its word, None for the tokens that the tokenizer adds.
    """

    position: int
    id: int
    text: str
    word: int | None
    embedding_norm: float


@dataclass(frozen=True, kw_only=True)
class TracedPrompt:
    """The words and tokens of a prompt."""

    words: Sequence[PromptWord]
    tokens: Sequence[PromptToken]


@dataclass(frozen=True, kw_only=True)
class TracedStep:
    """One UNet call, counted from 1.

    Attributes:
        timestep: trained time, from 999 to 0.
        sigma: noise level of the latents that the UNet gets, which may be infinite.
        seconds: time since the call before.
        guidance_scale: None if the call computed no unconditional half.
        guidance_share: length of guidance's part, (scale - 1) * (cond - uncond), as a part of the
            length of the guided output, both before rescaling (`guidance_rescale`).
        guidance_cosine: cosine between the two halves' outputs.
        attention: the part of the attention that each group of tokens gets.
    """

    step: int
    timestep: float
    sigma: float
    seconds: float
    guidance_scale: float | None
    guidance_share: float | None
    guidance_cosine: float | None
    attention: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


class TraceSink(Protocol):
    """Receiver of a trace. Its methods may raise SdcliError, which ends the run."""

    def begin_trace(self, run: RunInfo, prompt: TracedPrompt, layers: Sequence[str]) -> None:
        """Begin the trace of an image, or begin it again: what was received before is void."""

    def write_trace(self, name: str, array: NDArray[Any]) -> None:
        """Receive a tensor."""

    def add_step(self, step: TracedStep) -> None:
        """Receive the measurements of a UNet call, after its tensors."""
