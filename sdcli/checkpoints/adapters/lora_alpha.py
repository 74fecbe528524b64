"""Read the alphas that a LoRA states outside of its tensors, as Diffusers and PEFT do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.json_files import read_json

_METADATA: Final = "lora_adapter_metadata"
_CONFIG_FILE: Final = "adapter_config.json"
_PEFT_FILE: Final = "adapter_model.safetensors"
_COMPONENTS: Final = ("unet", "text_encoder", "text_encoder_2")


@dataclass(frozen=True, kw_only=True)
class Alphas:
    """The alpha of each component, and that of its layers whose names end in a pattern.

    "" stands for any component. With `uses_sqrt_rank`, changes are scaled by alpha over the square
    root of the rank.
    """

    by_component: Mapping[str, float] = field(default_factory=dict)
    by_pattern: Mapping[tuple[str, str], float] = field(default_factory=dict)
    uses_sqrt_rank: bool = False

    def of(self, component: str, layer: str) -> float | None:
        """The alpha of a layer, None where nothing states it."""
        for (owner, pattern), alpha in self.by_pattern.items():
            # PEFT matches a pattern with the end of a layer's name, too.
            if owner in ("", component) and f".{layer}".endswith(f".{pattern}"):
                return alpha
        return self.by_component.get(component, self.by_component.get(""))


def read_alphas(path: Path, metadata: Mapping[str, str]) -> Alphas:
    """Read the file's metadata, or the adapter_config.json beside a file of PEFT."""
    config = _parse(metadata.get(_METADATA, ""))
    # Next to any other file, the configuration may be that of something else.
    beside = path.parent / _CONFIG_FILE
    if not config and path.name == _PEFT_FILE and beside.is_file():
        config = read_json(beside)
    return Alphas(
        by_component=dict(_numbers(config)),
        by_pattern=dict(_patterns(config)),
        uses_sqrt_rank=any(
            value is True for key, value in config.items() if key.endswith("use_rslora")
        ),
    )


def _parse(text: str) -> Mapping[str, Any]:
    # A file of anybody may have any metadata.
    with suppress(ValueError, RecursionError):
        data = json.loads(text)
        if isinstance(data, dict):
            return data
    return {}


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for component in ("", *_COMPONENTS):
        value = config.get(f"{component}.lora_alpha" if component else "lora_alpha")
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield component, float(value)


def _patterns(config: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], float]]:
    for component in ("", *_COMPONENTS):
        patterns = config.get(f"{component}.alpha_pattern" if component else "alpha_pattern")
        for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
            if isinstance(value, int | float) and not isinstance(value, bool):
                # To PEFT these are regular expressions; only their anchors are handled here.
                yield (component, re.sub(r"^\^|\$$", "", str(pattern))), float(value)
