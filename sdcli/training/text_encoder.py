"""Words → vectors: a small CLIP text encoder, first taught where things stand.

Before the UNet ever asks it, a light head must paint from the caption the map of the scene: which
thing, or which background, is in which of 8 × 8 cells. It learns in minutes what the words mean,
and the UNet's training starts with words that already say what and where.
"""

from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from sdcli.training.captions import caption
from sdcli.training.concepts import BACKGROUNDS, CLASS_INDEX
from sdcli.training.loop import StepRandom, result
from sdcli.training.scenes import Scene, sample_for_training
from sdcli.training.tokenizer import load_tokenizer

SHORT = 24  # tokens that the longest training caption needs
WIDTH = 128
GRID = 8


def make_text_encoder(folder: Path) -> CLIPTextModel:
    """(batch, tokens) ids → (batch, tokens, 128); from ``SHORT`` on all share a position."""
    size = len(load_tokenizer(folder / "tokenizer"))
    config = CLIPTextConfig(
        vocab_size=size,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=WIDTH,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )
    encoder = CLIPTextModel(config)
    encoder.embeddings.position_ids.clamp_(max=SHORT - 1)
    return encoder


class Ids:
    """Captions → ids, padded to a length."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = load_tokenizer(folder / "tokenizer")

    def __call__(self, texts: list[str], length: int = SHORT) -> Tensor:
        """(batch, length) ids."""
        encoded = self._tokenizer(
            texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        ids: Tensor = encoded.input_ids
        return ids


def layout(scene: Scene) -> Tensor:
    """(8 × 8,) the class at the middle of each cell; backgrounds come after the things."""
    cells = torch.full((GRID, GRID), len(CLASS_INDEX) + BACKGROUNDS.index(scene.background))
    step = 128 // GRID
    for box in scene.placements:
        for row in range(GRID):
            for column in range(GRID):
                x, y = column * step + step // 2, row * step + step // 2
                if box.left <= x < box.left + box.size and box.top <= y < box.top + box.size:
                    cells[row, column] = CLASS_INDEX[box.concept]
    return cells.flatten()


class LayoutProbe(nn.Module):
    """Asks the caption's vectors, cell by cell, what is there."""

    def __init__(self) -> None:
        """Two rounds of cross-attention over learned cells."""
        super().__init__()
        self.cells = nn.Parameter(torch.randn(GRID * GRID, WIDTH) * 0.5)
        self.attention = nn.ModuleList(
            nn.MultiheadAttention(WIDTH, 4, batch_first=True) for _ in range(2)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.think = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 256), nn.GELU(), nn.Linear(256, WIDTH)
            )
            for _ in range(2)
        )
        self.name = nn.Linear(WIDTH, len(CLASS_INDEX) + len(BACKGROUNDS))

    def forward(self, words: Tensor) -> Tensor:
        """(batch, tokens, 128) → (batch, 64, classes) logits."""
        x = self.cells.expand(len(words), -1, -1)
        for attention, norm, think in zip(self.attention, self.norm, self.think, strict=True):
            x = x + attention(norm(x), words, words, need_weights=False)[0]
            x = x + think(x)
        logits: Tensor = self.name(x)
        return logits


class TextStage:
    """Trains the text encoder on the map of the scene."""

    name = "text"
    muon_lr, adamw_lr, weight_decay, ema_decay = 4e-3, 2e-3, 0.01, 0.98
    batch = 64

    def __init__(self, folder: Path) -> None:
        """Fresh encoder and painter."""
        self.ids = Ids(folder)
        self.encoder, self.painter = make_text_encoder(folder), LayoutProbe()
        self.modules: dict[str, nn.Module] = {"text_encoder": self.encoder, "painter": self.painter}

    def loss(self, draw: StepRandom, progress: float, rank: int) -> tuple[Tensor, dict[str, float]]:
        """Paint a batch of maps."""
        scenes = [sample_for_training(draw.numpy) for _ in range(self.batch)]
        texts = [caption(draw.numpy, scene) for scene in scenes]
        kept = [i for i, text in enumerate(texts) if text]
        target = torch.stack([layout(scenes[i]) for i in kept])
        logits = self.painter(self.encoder(self.ids([texts[i] for i in kept])).last_hidden_state)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten())
        things = target < len(CLASS_INDEX)
        right = (logits.argmax(-1) == target)[things].float().mean().item()
        return loss, {"things": right}


def load_text_encoder(folder: Path) -> CLIPTextModel:
    """The encoder as the map taught it."""
    encoder = make_text_encoder(folder)
    encoder.load_state_dict(torch.load(result(folder, "text"), weights_only=True)["text_encoder"])
    return encoder
