"""List the tensors of a CLIP text encoder under their names in Transformers and in OpenCLIP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sdcli.checkpoints.weight_files import TensorSource, Transform

PREFIX: Final = "text_model."
"""Beginning of the names in Transformers; files of some programs and versions leave it out."""

_PROJECTIONS: Final[Mapping[str, Transform]] = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
}
_LAYER: Final = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_EMBEDDINGS: Final = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
}


def text_names(
    config: Mapping[str, Any], has_projection: bool
) -> Iterator[tuple[str, TensorSource]]:
    """Yield each tensor's name in Transformers, and the tensor of OpenCLIP that it comes from.

    OpenCLIP keeps query, key and value in one matrix, and the projection transposed.
    """
    for name, old in _EMBEDDINGS.items():
        yield PREFIX + name, TensorSource(old)
    for layer in range(int(config.get("num_hidden_layers", 12))):
        new, old = f"{PREFIX}encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for leaf in ("weight", "bias"):
            for name, third in _PROJECTIONS.items():
                source = TensorSource(f"{old}.attn.in_proj_{leaf}", third)
                yield f"{new}.self_attn.{name}.{leaf}", source
            for name, old_name in _LAYER.items():
                yield f"{new}.{name}.{leaf}", TensorSource(f"{old}.{old_name}.{leaf}")
    for leaf in ("weight", "bias"):
        yield f"{PREFIX}final_layer_norm.{leaf}", TensorSource(f"ln_final.{leaf}")
    if has_projection:
        yield "text_projection.weight", TensorSource("text_projection", "transpose")
