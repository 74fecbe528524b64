"""Train the textual inversion embedding that comes with the embedded model.

Three vectors learn to mean a phrase of seven words: the UNet must predict with them what it
predicts with the phrase. They begin as those of the phrase's three nouns. An embedding cannot teach
this UNet a new shape, only name what it knows.
"""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import save_file
from torch import Tensor

from sdcli.training.diffusion import build_scheduler
from sdcli.training.loop import StepRandom, half_precision
from sdcli.training.teacher_paths import follow_teacher
from sdcli.training.tokenizer import LENGTH

PHRASE, BEGINNING = "a penguin and sunglasses on a beach", "penguin sunglasses beach"
STEPS, BATCH, LEARNING_RATE, SEED = 300, 16, 4e-3, 14
SCENES = 32
_CONTEXTS = ("{}", "{}", "a photo of {}", "a picture of {}", "{}, high quality", "{}, cute")
METADATA = {
    "modelspec.title": "A holiday, for the embedded model",
    "modelspec.description": f'The word "holiday" stands for "{PHRASE}".',
    "modelspec.trigger_phrase": "holiday",
    "ss_base_model_version": "tiny-emoji-128",
    "ss_learning_rate": str(LEARNING_RATE),
    "ss_max_train_steps": str(STEPS),
}


class HolidayTraining:
    """The vectors while they are trained."""

    def __init__(self, model: Path) -> None:
        """Load the model, and draw scenes of the phrase with it."""
        pipeline = StableDiffusionPipeline.from_pretrained(str(model), dtype=torch.float32)
        pipeline.unet.set_attn_processor(AttnProcessor())
        pipeline.unet.requires_grad_(False)
        pipeline.text_encoder.requires_grad_(False)
        self.pipeline, self._table = pipeline, pipeline.text_encoder.get_input_embeddings()
        self._places = self._ids([BEGINNING])[0, 1:4]
        self.vectors = torch.nn.Parameter(self._table.weight[self._places].clone())
        self._optimizer = torch.optim.Adam([self.vectors], LEARNING_RATE)
        noise = torch.randn(SCENES, 4, 16, 16, generator=torch.Generator().manual_seed(SEED))
        with torch.no_grad():
            words = self.embed([PHRASE]).expand(SCENES, -1, -1)
        self._clean = follow_teacher(pipeline, noise, words)[-1]
        alphas = build_scheduler().alphas_cumprod
        self._signal, self._noise = alphas.sqrt(), (1 - alphas).sqrt()
        self.step = 0

    def _ids(self, texts: list[str]) -> Tensor:
        ids: Tensor = self.pipeline.tokenizer(
            texts, padding="max_length", max_length=LENGTH, return_tensors="pt"
        ).input_ids
        return ids

    def embed(self, texts: list[str], *, has_vectors: bool = False) -> Tensor:
        """Return the embeddings of texts, perhaps with the vectors in the places of the nouns."""
        ids = self._ids(texts)

        def put(_: object, __: object, rows: Tensor) -> Tensor:
            for place, vector in zip(self._places, self.vectors, strict=True):
                rows = torch.where((ids == place)[..., None], vector, rows)
            return rows

        handle = self._table.register_forward_hook(put) if has_vectors else None
        words: Tensor = self.pipeline.text_encoder(ids).last_hidden_state
        if handle:
            handle.remove()
        return words

    def advance(self) -> float:
        """Do one step, and return the loss."""
        random = StepRandom(SEED, 0, self.step)
        clean = self._clean[torch.from_numpy(random.numpy.integers(SCENES, size=BATCH))]
        timesteps = torch.from_numpy(random.numpy.integers(1000, size=BATCH))
        contexts = [_CONTEXTS[i] for i in random.numpy.integers(len(_CONTEXTS), size=BATCH)]
        signal, sigma = (
            table[timesteps][:, None, None, None] for table in (self._signal, self._noise)
        )
        noisy = signal * clean + sigma * random.normal(*clean.shape)
        phrases, nouns = ([text.format(x) for text in contexts] for x in (PHRASE, BEGINNING))
        with half_precision(), torch.no_grad():
            target = self.pipeline.unet(noisy, timesteps, self.embed(phrases)).sample.float()
        with half_precision():
            words = self.embed(nouns, has_vectors=True)
            predicted = self.pipeline.unet(noisy, timesteps, words).sample.float()
        loss = (predicted - target).square().mean()
        for group in self._optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - self.step / STEPS)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.step += 1
        return float(loss)


def train_holiday_embedding(folder: Path, model: Path) -> Path:
    """Train the vectors, write them to ``folder`` and return the file."""
    training, target = HolidayTraining(model), folder / "holiday.safetensors"
    while training.step < STEPS:
        loss = training.advance()
        if training.step % 20 == 0:
            print(f"holiday_embedding  step {training.step}/{STEPS}  loss {loss:.5f}", flush=True)
    save_file({"emb_params": training.vectors.detach()}, target, METADATA)
    return target
