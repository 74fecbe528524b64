"""Measure with a CLIP model how well images fit their prompts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTextModel, CLIPVisionModel

from sdcli.checkpoints.clip_model import ClipFiles
from sdcli.checkpoints.weight_files import CLIP_MODEL
from sdcli.checkpoints.weights import check_weights
from sdcli.engine.loading.class_configs import reduce_config
from sdcli.engine.loading.components import (
    corrupt_component_error,
    load_component,
    loading_errors_as_corrupt_errors,
)
from sdcli.engine.loading.mapped_tensors import build_empty
from sdcli.engine.loading.tokenizer import load_tokenizer
from sdcli.engine.runtime.diffusers_internals import clip_text_model
from sdcli.engine.text.tokens import check_ids

_SCALE: Final = 100


class ClipScorer:
    """A CLIP model on the CPU. Raises ModelError or CorruptError for files that do not load."""

    def __init__(self, files: ClipFiles) -> None:
        self._files = files
        path = files.config_file
        config = dict(files.config)
        for key, half in (("text_config", CLIPTextModel), ("vision_config", CLIPVisionModel)):
            config[key] = reduce_config(half, config[key], path)
        _check_shapes(config, files)
        self._model = load_component(
            CLIP_MODEL, CLIPModel, path, config, files.weights, torch.float32
        )
        positions = int(self._model.config.text_config.max_position_embeddings)
        self._tokenizer, _ = load_tokenizer(files.folder, positions)
        with loading_errors_as_corrupt_errors("preprocessor", files.folder):
            self._preprocess = CLIPImageProcessorPil(**files.preprocessing)
        # Images of several seeds share their prompt.
        self._embed_text = lru_cache(maxsize=256)(self._embed)

    @torch.no_grad()
    def score(self, prompt: str, pixels: NDArray[np.uint8]) -> float:
        """Return 100 times the cosine of the embeddings of a prompt and an image, at least 0.

        `pixels` are (height, width, 3). The end of a prompt that does not fit is left out.
        """
        with loading_errors_as_corrupt_errors(CLIP_MODEL, self._files.folder):
            image = self._preprocess(pixels, return_tensors="pt").pixel_values
            embedded = self._model.vision_model(pixel_values=image).pooler_output
            embedded = self._model.visual_projection(embedded)
            cosine = torch.cosine_similarity(embedded, self._embed_text(prompt))
        return max(0.0, _SCALE * float(cosine))

    def _embed(self, prompt: str) -> Any:
        length = self._tokenizer.model_max_length
        tokens = self._tokenizer(prompt, truncation=True, max_length=length, return_tensors="pt")
        text_model = clip_text_model(self._model)
        check_ids(tokens.input_ids, text_model)
        embedded = text_model(**tokens).pooler_output
        return self._model.text_projection(embedded)


def _check_shapes(config: Mapping[str, Any], files: ClipFiles) -> None:
    """Raise CorruptError for a tensor of another shape: Transformers would not name it."""
    with loading_errors_as_corrupt_errors(CLIP_MODEL, files.config_file):
        expected = build_empty(CLIPModel, config).state_dict()
    stored = check_weights(CLIP_MODEL, files.weights).tensors
    for name, tensor in expected.items():
        if name in stored and tuple(stored[name].shape) != tuple(tensor.shape):
            problem = f"has another shape of {name} than config.json says"
            raise corrupt_component_error(CLIP_MODEL, files.weights.path, problem)
