"""Define and pretrain the text encoder, a small CLIP.

A small head predicts from the caption which object or background is in each of 8 x 8 cells of the
scene. The encoder learns the meaning of the words in minutes, so that the training of the UNet
starts with embeddings that already tell objects and positions apart.
"""

from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's convention)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from sdcli.training.captions import make_caption
from sdcli.training.concepts import BACKGROUNDS, CLASS_INDEX
from sdcli.training.loop import StepRandom, result_file
from sdcli.training.scenes import Scene, sample_for_training
from sdcli.training.tokenizer import load_tokenizer

SHORT = 24
"""Number of tokens that the longest training caption needs."""

WIDTH = 128
GRID = 8


def build_text_encoder(folder: Path) -> CLIPTextModel:
    """Build the encoder: ids (batch, tokens) give embeddings (batch, tokens, 128).

    All positions from ``SHORT`` - 1 on share an embedding, because training never sees more tokens.
    """
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


class CaptionTokenizer:
    """Convert captions to ids of a fixed length."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = load_tokenizer(folder / "tokenizer")

    def __call__(self, texts: list[str], length: int = SHORT) -> Tensor:
        """Return ids, (batch, length)."""
        encoded = self._tokenizer(
            texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        ids: Tensor = encoded.input_ids
        return ids


def cell_classes(scene: Scene) -> Tensor:
    """Return the class at the center of each cell, (64,); backgrounds come after the objects."""
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
    """Predict the class of each cell from the embeddings of a caption."""

    def __init__(self) -> None:
        """Build two layers of cross-attention with a learned query for each cell."""
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

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return logits (batch, 64, classes) of embeddings (batch, tokens, 128)."""
        x = self.cells.expand(len(embeddings), -1, -1)
        for attention, norm, think in zip(self.attention, self.norm, self.think, strict=True):
            x = x + attention(norm(x), embeddings, embeddings, need_weights=False)[0]
            x = x + think(x)
        logits: Tensor = self.name(x)
        return logits


class TextStage:
    """Train the text encoder to predict the classes of the cells."""

    name = "text"
    muon_lr, adamw_lr, weight_decay, ema_decay = 4e-3, 2e-3, 0.01, 0.98
    batch = 64

    def __init__(self, folder: Path) -> None:
        """Build the encoder and the head."""
        self.tokenize = CaptionTokenizer(folder)
        self.encoder, self.probe = build_text_encoder(folder), LayoutProbe()
        self.modules: dict[str, nn.Module] = {"text_encoder": self.encoder, "painter": self.probe}

    def loss(
        self, random: StepRandom, progress: float, rank: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the cross-entropy of the cells on a batch of scenes."""
        scenes = [sample_for_training(random.numpy) for _ in range(self.batch)]
        texts = [make_caption(random.numpy, scene) for scene in scenes]
        # An empty caption says nothing about the scene.
        captioned = [i for i, text in enumerate(texts) if text]
        target = torch.stack([cell_classes(scenes[i]) for i in captioned])
        ids = self.tokenize([texts[i] for i in captioned])
        logits = self.probe(self.encoder(ids).last_hidden_state)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten())
        is_object = target < len(CLASS_INDEX)
        accuracy = (logits.argmax(-1) == target)[is_object].float().mean().item()
        return loss, {"accuracy": accuracy}


def load_text_encoder(folder: Path) -> CLIPTextModel:
    """Load the pretrained encoder."""
    encoder = build_text_encoder(folder)
    encoder.load_state_dict(
        torch.load(result_file(folder, "text"), weights_only=True)["text_encoder"]
    )
    return encoder
