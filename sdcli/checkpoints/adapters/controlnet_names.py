"""List the tensors of a ControlNet under their names in Diffusers and in the original code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sdcli.checkpoints.single_file.parts import Layout
from sdcli.checkpoints.single_file.unet_names import Pair, both, encoder_names, skipped_widths
from sdcli.checkpoints.weight_files import TensorSource

Shapes = Mapping[str, tuple[int, ...]]

_PREFIX: Final = "control_model."
_ORIGINAL: Final = ("input_blocks.", "input_hint_block.", "zero_convs.")
_EMBEDDING: Final = "controlnet_cond_embedding."


def controlnet_names(config: Mapping[str, Any]) -> Iterator[Pair]:
    """Yield the names of all tensors of the ControlNet that the configuration describes.

    Raises ModelError for one that the original code cannot express.
    """
    yield from encoder_names(config)
    blocks = 2 * (len(config["conditioning_embedding_out_channels"]) - 1)
    # Every second entry of the original list is an activation without weights.
    yield from both(f"{_EMBEDDING}conv_in", "input_hint_block.0")
    for block in range(blocks):
        yield from both(f"{_EMBEDDING}blocks.{block}", f"input_hint_block.{2 * block + 2}")
    yield from both(f"{_EMBEDDING}conv_out", f"input_hint_block.{2 * blocks + 2}")
    for index in range(len(skipped_widths(config))):
        yield from both(f"controlnet_down_blocks.{index}", f"zero_convs.{index}.0")
    yield from both("controlnet_mid_block", "middle_block_out.0")


@dataclass(frozen=True, kw_only=True)
class ControlnetShapes:
    """The shapes of a ControlNet in a file, by names without prefix, and how they are spelled."""

    prefix: str
    layout: Layout
    shapes: Shapes

    @classmethod
    def of(cls, shapes: Shapes) -> ControlnetShapes:
        """Sort the tensors of a file. One with the whole model has the ControlNet's by prefix."""
        prefix = _PREFIX if any(name.startswith(_PREFIX) for name in shapes) else ""
        own = {n.removeprefix(prefix): shape for n, shape in shapes.items() if n.startswith(prefix)}
        is_original = any(name.startswith(_ORIGINAL) for name in own)
        layout: Layout = "original" if is_original else "diffusers"
        return cls(prefix=prefix, layout=layout, shapes=own)

    @property
    def text_width(self) -> int | None:
        """The width of the text embeddings that it takes, None without cross-attention."""
        ends = (shape for n, shape in self.shapes.items() if n.endswith("attn2.to_k.weight"))
        return next((shape[-1] for shape in ends if shape), None)

    @property
    def takes_pooled_text(self) -> bool:
        """Whether it takes the further inputs of Stable Diffusion XL."""
        return any(name.startswith(("label_emb.", "add_embedding.")) for name in self.shapes)

    @property
    def skipped_widths(self) -> list[int]:
        """The channels of each of its outputs but the last, in their order."""
        return list(
            self._numbered(r"(?:zero_convs\.(\d{1,4})\.0|controlnet_down_blocks\.(\d{1,4}))")
        )

    @property
    def embedding_widths(self) -> list[int]:
        """The channels of each level of the part that reads the control image."""
        if self.layout == "original":
            widths = list(self._numbered(r"input_hint_block\.(\d{1,4})"))[:-1]
        else:
            first = self.shapes.get(f"{_EMBEDDING}conv_in.weight") or (0,)
            widths = [first[0], *self._numbered(re.escape(_EMBEDDING) + r"blocks\.(\d{1,4})")]
        return widths[::2]

    @property
    def image_channels(self) -> int | None:
        """The channels of the control image."""
        names = ("input_hint_block.0.weight", f"{_EMBEDDING}conv_in.weight")
        return self._second_side(names)

    @property
    def latent_channels(self) -> int | None:
        """The channels of the latents."""
        return self._second_side(("input_blocks.0.0.weight", "conv_in.weight"))

    def sources(self, config: Mapping[str, Any]) -> dict[str, TensorSource]:
        """Return the source in the file of each tensor of the ControlNet. Raises ModelError."""
        is_original = self.layout == "original"
        return {
            new: TensorSource(self.prefix + (old if is_original else new))
            for new, old in controlnet_names(config)
        }

    def _second_side(self, names: tuple[str, ...]) -> int | None:
        found = (self.shapes[name] for name in names if name in self.shapes)
        return next((shape[1] for shape in found if len(shape) > 1), None)

    def _numbered(self, pattern: str) -> Iterator[int]:
        """Yield the first side of the weights of numbered layers, in their order."""
        compiled = re.compile(pattern + r"\.weight")
        matches = ((compiled.fullmatch(n), shape) for n, shape in self.shapes.items())
        found = [(int(next(filter(None, m.groups()))), s) for m, s in matches if m and s]
        for _, shape in sorted(found):
            yield shape[0]
