"""`sdcli train-lora`: equal to PEFT by hand, resumed bit for bit, refused before torch."""

from __future__ import annotations

import errno
import json
import shutil
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from peft import LoraConfig
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sdcli.checkpoints.adapters.lora_file import match_lora
from sdcli.checkpoints.adapters.model_layers import read_layers
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.cli import main
from sdcli.engine.lora_training.adapter import TARGETS
from sdcli.engine.lora_training.trainer import LoraTrainer
from sdcli.pipeline_spec import PipelineSpec
from sdcli.storage import files
from sdcli.workflows.train_lora import plan
from tests.conftest import RunCli
from tests.image_files import pixels_of
from tests.test_startup import HEAVY, probe
from tests.xl_models import write_xl_model

SEED, RANK, ALPHA, RATE = 3, 2, 4.0, 1e-2
QUICK = (
    "--resolution", "64", "--batch-size", "2", "--rank", str(RANK), "--alpha", str(ALPHA),
    "--lr", str(RATE), "--device", "cpu",
)  # fmt: skip
SEEDED = (*QUICK, "--seed", str(SEED))
STEPS = 3


def write_photos(folder: Path, names: tuple[str, ...] = ("a", "b")) -> Path:
    """Write images of noise, each with a caption."""
    random = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for name in names:
        pixels = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"a {name} star\n")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("train") / "photos")


@pytest.fixture(scope="module")
def model(photos: Path) -> Path:
    """The embedded model, but for the steps that it draws with by default."""
    folder = shutil.copytree(EMBEDDED_FOLDER, photos.parent / "model")
    defaults = folder / "sdcli.json"
    known = json.loads(defaults.read_text("utf-8"))
    defaults.write_text(json.dumps(known | {"num_inference_steps": 2}), "utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(photos: Path, model: Path) -> Path:
    """A LoRA of the embedded model, trained without an interruption."""
    out = photos.parent / "whole.safetensors"
    argv = ["train-lora", str(photos), "-o", str(out), *SEEDED, "--steps", str(STEPS)]
    argv += ["-m", str(model)]
    assert main([*argv, "--sample-prompt", "a star", "--save-every", "2", "-q"]) == 0
    return out


def train(run_cli: RunCli, photos: Path, *more: str, code: int = 0) -> Any:
    ran = run_cli("train-lora", str(photos), "-o", "my.safetensors", *more)
    assert ran.code == code, ran.stderr
    return ran


def state_of(out: Path) -> bytes:
    return (out.with_suffix(".training") / "training.state").read_bytes()


def step_random(step: int) -> torch.Generator:
    [state] = np.random.SeedSequence([SEED, step]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state))


@torch.no_grad()
def encode_by_hand(pipeline: Any, photos: Path) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Latents, embeddings and conditions of the images, as Diffusers' own scripts compute them."""
    names = ("a", "b")
    images = [pipeline.image_processor.preprocess(Image.open(photos / f"{n}.png")) for n in names]
    means = [pipeline.vae.encode(image).latent_dist.mean for image in images]
    # The VAE may return its result in channels-last memory order, in which sums round otherwise.
    latents = torch.cat(means).contiguous() * pipeline.vae.config.scaling_factor
    encoded = [
        pipeline.encode_prompt(
            f"a {name} star",
            device="cpu",
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
        for name in names
    ]
    embeds = torch.cat([e[0] for e in encoded])
    if len(encoded[0]) < 4:
        return latents, embeds, None
    sizes = torch.tensor([[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]] * 2)
    return latents, embeds, {"text_embeds": torch.cat([e[2] for e in encoded]), "time_ids": sizes}


def train_by_hand(pipeline: Any, photos: Path, steps: int) -> dict[str, torch.Tensor]:
    """The factors of a LoRA that PEFT and torch's AdamW train with the same random numbers."""
    latents, embeds, added = encode_by_hand(pipeline, photos)
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    unet = pipeline.unet.requires_grad_(False)
    torch.manual_seed(SEED)
    unet.add_adapter(
        LoraConfig(r=RANK, lora_alpha=ALPHA, init_lora_weights="gaussian", target_modules=TARGETS)
    )
    parameters = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    for step in range(steps):
        order = np.random.default_rng([SEED, step]).permutation(2).tolist()
        clean, random = latents[order], step_random(step)
        noise = torch.randn(clean.shape, generator=random)
        timesteps = torch.randint(0, 1000, (2,), generator=random)
        noisy = scheduler.add_noise(clean, noise, timesteps)
        target = noise
        if scheduler.config.prediction_type == "v_prediction":
            target = scheduler.get_velocity(clean, noise, timesteps)
        conditions = added and {name: value[order] for name, value in added.items()}
        predicted = unet(noisy, timesteps, embeds[order], added_cond_kwargs=conditions).sample
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(predicted, target).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return {name: p.detach() for name, p in unet.named_parameters() if "lora_" in name}


def kohya_name(name: str) -> str:
    layer, _, part = name.partition(".lora_")
    return f"lora_unet_{layer.replace('.', '_')}.lora_{ {'A': 'down', 'B': 'up'}[part[0]] }.weight"


@pytest.mark.sample(1)
@pytest.mark.parametrize("family", ["embedded", "xl"])
def test_steps_are_those_of_peft_by_hand(
    run_cli: RunCli, photos: Path, tmp_path: Path, family: str
) -> None:
    """With v-prediction and epsilon, with and without Stable Diffusion XL's conditions."""
    folder = EMBEDDED_FOLDER if family == "embedded" else write_xl_model(tmp_path / "xl")
    cls = StableDiffusionPipeline if family == "embedded" else StableDiffusionXLPipeline
    train(run_cli, photos, *SEEDED, "--steps", "2", "-m", str(folder))
    pipeline = cls.from_pretrained(folder, dtype=torch.float32)
    expected = {kohya_name(n): p for n, p in train_by_hand(pipeline, photos, 2).items()}
    written = load_file("my.safetensors")
    alphas = {name for name in written if name.endswith(".alpha")}
    assert all(written[name] == ALPHA for name in alphas)
    assert written.keys() - alphas == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(written[name], tensor), name
        assert tensor.abs().max() > 0
    spec = PipelineSpec(model=str(folder))
    match = match_lora(Path("my.safetensors"), spec.model, read_layers(spec))
    assert match.note() is None
    assert len(match.layers) == len(alphas)


def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    run_cli: RunCli, photos: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = LoraTrainer.advance

    def advance_with_signal(trainer: LoraTrainer) -> float:
        if trainer.step == 1:
            signal.raise_signal(signal.SIGINT)
        return advance(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(LoraTrainer, "advance", advance_with_signal)
        ran = train(run_cli, photos, *SEEDED, "--steps", str(STEPS), code=130)
    assert "2 of 3 steps are in the checkpoint" in ran.stderr
    assert "run the same command again to continue" in ran.stderr
    assert not Path("my.safetensors").exists()
    ran = train(run_cli, photos, *QUICK, "--steps", str(STEPS), "--json")
    assert ran.document["resumed_from"] == 2
    assert load_bytes("my.safetensors") == load_bytes(trained)
    assert state_of(Path("my.safetensors")) == state_of(trained)


def load_bytes(path: Path | str) -> dict[str, bytes]:
    """The tensors of a file, bit by bit."""
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}


def test_more_steps_continue_a_finished_training(
    run_cli: RunCli, photos: Path, trained: Path
) -> None:
    train(run_cli, photos, *SEEDED, "--steps", "2")
    train(run_cli, photos, *SEEDED, "--steps", str(STEPS), "--force")
    assert load_bytes("my.safetensors") == load_bytes(trained)
    checkpoint = trained.with_suffix(".training") / "step-000002.safetensors"
    train(run_cli, photos, *SEEDED, "--steps", "2", "--force", "--restart")
    assert load_bytes("my.safetensors") == load_bytes(checkpoint)


def test_a_full_disk_keeps_the_last_checkpoint(
    run_cli: RunCli, photos: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, written = files.fsync, []

    def fsync_until_full(file: Any) -> None:
        written.append(file)
        # The file that tests the folder, the first state and its LoRA, the plot.
        if len(written) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(files, "fsync", fsync_until_full)
        argv = (*SEEDED, "--steps", str(STEPS), "--save-every", "1")
        ran = train(run_cli, photos, *argv, code=5)
    assert "No space left on device" in ran.stderr
    assert "the checkpoint of step 1 is kept" in ran.stderr
    train(run_cli, photos, *argv)
    assert load_bytes("my.safetensors") == load_bytes(trained)


def test_a_loss_that_is_not_a_number_ends_the_training(run_cli: RunCli, photos: Path) -> None:
    argv = ("--resolution", "64", "--rank", "2", "--seed", "1", "--lr", "1e6", "--alpha", "1e6")
    ran = train(run_cli, photos, *argv, "--save-every", "1", code=8)
    assert "the loss is not a number in step" in ran.stderr
    assert "the checkpoint of step 1 is kept" in ran.stderr
    assert "lower --lr than 1e+06" in ran.stderr
    assert not Path("my.safetensors").exists()


def test_weights_that_are_no_numbers_are_not_written(run_cli: RunCli, photos: Path) -> None:
    train(run_cli, photos, *SEEDED, "--steps", "1")
    state = Path("my.training/training.state")
    with safe_open(state, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(state)
    name = next(name for name in tensors if name.startswith("factor:"))
    save_file({**tensors, name: tensors[name] * float("inf")}, state, metadata)
    before = Path("my.safetensors").read_bytes()
    ran = train(run_cli, photos, *SEEDED, "--steps", "1", "--force", code=8)
    assert "the LoRA is not finite after step 1" in ran.stderr
    assert Path("my.safetensors").read_bytes() == before


def test_the_samples_are_what_the_option_lora_draws(
    run_cli: RunCli, trained: Path, model: Path
) -> None:
    folder = trained.with_suffix(".training")
    for step, lora in ((2, folder / "step-000002.safetensors"), (STEPS, trained)):
        options = ("--size", "64x64", "--seed", str(SEED), "--device", "cpu", "-m", str(model))
        # Next to the model, where the replay of all pictures looks for it.
        out = trained.parent / f"{step}.png"
        ran = run_cli("generate", "a star", *options, "--lora", str(lora), "-o", str(out))
        assert ran.code == 0, ran.stderr
        assert "not used" not in ran.stderr
        sample = pixels_of(folder / f"step-{step:06d}-1.png")
        assert np.array_equal(pixels_of(ran.paths[0]), sample)
    assert not np.array_equal(pixels_of(trained.parent / "2.png"), sample)


def test_the_file_says_how_it_was_made(run_cli: RunCli, photos: Path, tmp_path: Path) -> None:
    ran = train(run_cli, photos, *SEEDED, "--steps", "1", "--trigger", "zorb", "--json")
    document = ran.document
    assert document["schema"] == "sdcli/trained-lora/1"
    assert document["images"] == 2
    assert document["loss"]["first"] == document["losses"][0]["loss"] > 0
    assert Path(document["plot"]).read_bytes().startswith(b"\x89PNG")
    shown = run_cli("inspect", "my.safetensors", "--json").document
    assert shown["addon"]["ranks"] == [RANK]
    assert shown["addon"]["alphas"] == [ALPHA]
    assert shown["addon"]["trigger_words"] == ["zorb"]
    metadata = shown["metadata"]
    assert metadata["ss_base_model_version"] == "tiny-emoji-128"
    assert metadata["ss_num_train_images"] == "2"
    assert metadata["ss_steps"] == "1"
    assert json.loads(metadata["ss_tag_frequency"])["images"]["zorb"] == 2
    # No path and no time: the same training writes the same file.
    assert str(tmp_path) not in json.dumps(metadata)


Prepare = Callable[[Path], object]


def _alone(folder: Path) -> object:
    return (folder / "a.txt").unlink()


REFUSED: dict[str, tuple[Prepare, tuple[str, ...], int, str]] = {
    "no folder": (shutil.rmtree, (), 2, "no such folder"),
    "no images": (lambda f: [p.unlink() for p in f.glob("*.png")], (), 2, "no images"),
    "no caption": (_alone, (), 2, "1 of 2 images have no caption: a.png"),
    "empty caption": (
        lambda f: (f / "b.txt").write_text(" \n"), (), 2, "1 of 2 images have no caption: b.png"
    ),
    "not an image": (lambda f: (f / "a.png").write_bytes(b"no"), (), 7, "a.png"),
    "half an image": (
        lambda f: (f / "a.png").write_bytes((f / "a.png").read_bytes()[:2000]), (), 7, "a.png"
    ),
    "not UTF-8": (lambda f: (f / "a.txt").write_bytes(b"a \xff"), (), 2, "a.txt:1:3: not UTF-8"),
    "not JSON": (
        lambda f: (f / "metadata.jsonl").write_text("\n{"), (), 2, "metadata.jsonl:2: not JSON"
    ),
    "no object": (
        lambda f: (f / "metadata.jsonl").write_text("3"), (), 2, "metadata.jsonl:1: not a JSON"
    ),
    "unknown image": (
        lambda f: (f / "metadata.jsonl").write_text('{"file_name": "aa.png", "text": "a"}'),
        (), 2, "metadata.jsonl:1: no image 'aa.png'",
    ),
    "no text": (
        lambda f: (f / "captions.csv").write_text("file,title\na.png,x\n"),
        (), 2, "captions.csv:2: no text under text or caption or prompt",
    ),
    "exists": (
        lambda f: (f.parent / "my.safetensors").touch(), (), 5, "my.safetensors exists"
    ),
    "other suffix": (lambda f: None, ("-o", "my.pt"), 2, "a LoRA is a .safetensors file"),
    "among the images": (
        lambda f: None, ("-o", "photos/my.safetensors"), 2, "in the folder of the images"
    ),
    "resolution": (lambda f: None, ("--resolution", "100"), 2, "100 is not a multiple of 8"),
    "rate": (lambda f: None, ("--lr", "0"), 2, "--lr: 0 is not above 0"),
    "large rate": (lambda f: None, ("--lr", "1e39"), 2, "--lr: 1e+39 is not above 0"),
    "alpha": (lambda f: None, ("--alpha", "-1"), 2, "--alpha: -1 is not above 0"),
    "no model": (lambda f: None, ("-m", "none/such", "--offline"), 3, "none/such"),
    "prompt": (lambda f: None, ("--sample-prompt", "a", "--size", "3"), 2, "--size"),
    "broken state": (
        lambda f: _write(f.parent / "my.training" / "training.state", b"no"), (), 7,
        "training.state",
    ),
}  # fmt: skip


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(data)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused(
    run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    prepare, options, code, message = REFUSED[name]
    prepare(write_photos(tmp_path / "photos"))
    monkeypatch.setattr(LoraTrainer, "__init__", None)  # is never reached
    ran = run_cli("train-lora", "photos", "-o", "my.safetensors", *options)
    assert (ran.code, message in ran.stderr) == (code, True), ran.stderr
    assert "Traceback" not in ran.stderr


def test_another_training_is_not_continued(run_cli: RunCli, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos")
    train(run_cli, photos, *SEEDED, "--steps", "2")
    for options, message in (
        ((*SEEDED, "--rank", "3"), "--rank 2, not 3"),
        ((*SEEDED, "--lr", "0.5"), "--lr 0.01, not 0.5"),
        ((*SEEDED, "--trigger", "zorb"), "other images or captions"),
        ((*SEEDED, "--steps", "1"), "--steps: 1, but 2 are done already"),
    ):
        ran = train(run_cli, photos, *options, "--force", code=2)
        assert message in ran.stderr
        assert "--restart" in ran.stderr


@pytest.mark.parametrize(
    ("package", "variables", "message"),
    [(None, {}, "pip install peft"), ("peft", {"WORLD_SIZE": "2", "RANK": "1"}, "torchrun")],
)
def test_what_it_needs_is_said(
    run_cli: RunCli,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str | None,
    variables: dict[str, str],
    message: str,
) -> None:
    monkeypatch.setattr(plan, "find_spec", lambda name: package and find_spec(package))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert message in train(run_cli, photos, code=2).stderr


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (("train-lora", "photos", "--network-dim", "8"), "train-lora calls it --rank"),
        (("train-lora", "--train-data-dir", "photos"), "train-lora calls it FOLDER"),
        (("finetune", "photos"), "sdcli calls it train-lora"),
    ],
)
def test_the_words_of_other_trainers_are_answered(
    run_cli: RunCli, argv: tuple[str, ...], hint: str
) -> None:
    ran = run_cli(*argv)
    assert ran.code == 2
    assert hint in ran.stderr


def test_a_bad_image_is_found_without_torch(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos")
    (photos / "b.png").write_bytes(b"no image")
    code, modules = probe("train-lora", str(photos), "-o", "my.safetensors", cwd=tmp_path)
    assert code == 7
    assert not HEAVY & modules


def test_metadata_can_be_read_by_others(trained: Path) -> None:
    with safe_open(trained, "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_dim"] == str(RANK)
    assert float(metadata["ss_network_alpha"]) == ALPHA
    assert metadata["modelspec.resolution"] == "64x64"
