"""The machinery of the training: tokenizer, optimiser, loop, latents, judge."""

import hashlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.training import sprites
from sdcli.training import tokenizer as tokens
from sdcli.training.autoencoder import make_kl, make_tiny, psnr, whiten
from sdcli.training.decoder_finetune import LatentRefiner
from sdcli.training.diffusion import HardExampleSampler, embed, make_scheduler, make_unet
from sdcli.training.export import _text_encoder, scheduler_file
from sdcli.training.judge import crop_boxes, crops
from sdcli.training.loop import Run, StepRandom, result, schedule, train
from sdcli.training.match_quality import best_psnr, errors
from sdcli.training.optimizer import MuonAdamW, orthogonalize
from sdcli.training.scenes import Placement, Scene, render, sample
from sdcli.training.sprites import Sprites, draw_shapes
from sdcli.training.text_encoder import SHORT, Ids, layout, make_text_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training folder with a tokenizer of few captions."""
    path = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "CAPTIONS", 2000)
        tokens.train_tokenizer(path / "tokenizer", seed=3)
    return path


@pytest.fixture(scope="module")
def shapes() -> Sprites:
    return Sprites(draw_shapes())


def red_circle(size: int = 80, left: int = 24) -> Scene:
    box = Placement(concept="red circle", left=left, top=24, size=size)
    return Scene(placements=(box,), layout="single", background="blue")


def test_words_of_captions_are_one_token_each(folder: Path) -> None:
    tokenizer = tokens.load_tokenizer(folder / "tokenizer")
    for word in ("strawberries", "guitar", "background", "purple", "masterpiece"):
        assert len(tokenizer.tokenize(word)) == 1


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=60)
def test_any_text_has_ids_of_its_own_bytes(folder: Path, text: str) -> None:
    tokenizer = tokens.load_tokenizer(folder / "tokenizer")
    assert tokenizer.unk_token_id not in tokenizer(text, add_special_tokens=False).input_ids


def test_merges_are_learned_commonest_first() -> None:
    from collections import Counter

    assert tokens.learn_merges(Counter({"aab": 5, "ab": 1}), 2) == [("a", "b</w>"), ("a", "ab</w>")]


def test_orthogonalized_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((8, 30), (30, 8), (16, 16)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert values.min() > 0.3
        assert values.max() < 1.4


def test_orthogonalizing_is_five_newton_schulz_steps() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(6, 20)
    x = matrix / matrix.norm()
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    assert torch.allclose(orthogonalize(matrix), x, atol=1e-4)
    assert torch.allclose(orthogonalize(matrix.T), x.T, atol=1e-4)


def test_two_workers_share_every_matrix_once() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4), nn.Linear(4, 4))
    owners = [
        MuonAdamW(
            model.named_parameters(),
            muon_lr=1e-3,
            adamw_lr=1e-3,
            weight_decay=0.0,
            rank=rank,
            world=2,
        ).owner
        for rank in range(2)
    ]
    assert owners[0] == owners[1]
    assert set(owners[0]) == {0, 1}


def test_the_schedule_warms_up_and_falls_to_one_hundredth() -> None:
    assert schedule(0.0, 0) < 0.05
    assert schedule(0.0, 1000) == pytest.approx(1.0)
    assert schedule(1.0, 1000) == pytest.approx(0.01)


class Line:
    """A stage that fits a line: enough to see that a run learns, stops and goes on."""

    name = "line"
    muon_lr, adamw_lr, weight_decay, ema_decay = 0.1, 0.02, 0.0, 0.9

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1)
        self.modules: dict[str, nn.Module] = {"line": self.model}

    def loss(self, draw: StepRandom, progress: float, rank: int) -> tuple[Tensor, dict[str, float]]:
        x = draw.normal(64, 3)
        wanted = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 1
        return (self.model(x) - wanted).square().mean(), {}


def run_of(folder: Path) -> Run:
    """A run so long that its schedule stands still, whatever the machine's speed."""
    return Run(Line(folder), folder, 1e9, rank=0, world=1)


def test_a_stage_learns(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    for _ in range(300):
        run.advance(seed=1)
    run.finish()
    learned = run.stage.modules["line"].state_dict()["weight"]
    assert torch.allclose(learned, torch.tensor([[1.0, -2.0, 0.5]]), atol=0.1)


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    whole = run_of(tmp_path)
    for _ in range(10):
        whole.advance(seed=1)
    first = run_of(tmp_path)
    for _ in range(5):
        first.advance(seed=1)
    first.save()
    second = run_of(tmp_path)
    assert second.step == 5
    for _ in range(5):
        second.advance(seed=1)
    assert torch.equal(whole.parameters[0], second.parameters[0])
    assert torch.equal(whole.ema[0], second.ema[0])


def test_a_finished_stage_is_not_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("line", Line, tmp_path, seconds=0.0, seed=1, workers=1)
    written = result(tmp_path, "line").stat().st_mtime_ns
    train("line", Line, tmp_path, seconds=9.0, seed=1, workers=1)
    assert "done before" in capsys.readouterr().out
    assert result(tmp_path, "line").stat().st_mtime_ns == written


def test_the_randomness_of_a_step_depends_on_nothing_before_it() -> None:
    for rank, step in ((0, 0), (1, 0), (0, 1)):
        assert torch.equal(StepRandom(1, rank, step).normal(4), StepRandom(1, rank, step).normal(4))
    assert not torch.equal(StepRandom(1, 0, 0).normal(4), StepRandom(1, 1, 0).normal(4))


def test_whitening_changes_the_code_and_not_the_picture(shapes: Sprites) -> None:
    torch.manual_seed(0)
    vae = make_kl().eval().requires_grad_(False)
    x = torch.rand(4, 3, 64, 64) * 2 - 1
    before = vae.decode(vae.encode(x).latent_dist.mean).sample
    spread = vae.encode(x).latent_dist
    relative = spread.std / spread.mean.std((0, 2, 3))[:, None, None]
    whiten(vae, x)
    code = vae.encode(x).latent_dist
    assert torch.allclose(code.mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(code.mean.std((0, 2, 3)), torch.ones(4), atol=1e-4)
    assert torch.allclose(code.std, relative, rtol=1e-3)
    assert torch.allclose(vae.decode(code.mean).sample, before, atol=1e-4)


def test_the_parts_fit_together() -> None:
    with torch.no_grad():
        z = make_kl().encode(torch.zeros(1, 3, 128, 128)).latent_dist.mean
        assert z.shape == (1, 4, 16, 16)
        assert make_tiny().decode(z).sample.shape == (1, 3, 128, 128)
        v = make_unet()(z, torch.tensor([500]), torch.zeros(1, 77, 128)).sample
    assert v.shape == z.shape
    assert make_scheduler().config.prediction_type == "v_prediction"


def test_the_shipped_scheduler_is_what_an_export_writes() -> None:
    folder = EMBEDDED_FOLDER / "scheduler"
    assert scheduler_file() == (folder / "scheduler_config.json").read_text()


def test_the_exported_text_encoder_equals_the_trained_one(folder: Path) -> None:
    torch.manual_seed(0)
    trained = make_text_encoder(folder).eval()
    torch.save({"text_encoder": trained.state_dict()}, result(folder, "diffusion"))
    ids = Ids(folder)(["two cats on a blue background"], 77)
    with torch.no_grad():
        exported = _text_encoder(folder).eval()(ids).last_hidden_state
        assert torch.equal(exported, embed(trained, ids))


def scene_of(*concepts: str) -> Scene:
    boxes = tuple(Placement(concept=c, left=0, top=0, size=64) for c in concepts)
    return Scene(placements=boxes, layout="row", background="white")


def test_what_is_drawn_badly_is_drawn_more_often() -> None:
    scenes = [scene_of("cat"), scene_of("dog"), scene_of("cat", "dog")]
    difficulty = HardExampleSampler(scenes, levels=4)
    levels, hardness = torch.tensor([0.1, 0.4, 0.8, 1.0]), torch.tensor([1.0, 2.0, 1.5])
    rng = np.random.default_rng(0)
    for _ in range(400):
        chosen = rng.integers(0, 3, 4)
        difficulty.learn(chosen, levels * hardness[torch.from_numpy(chosen)])
    drawn = np.bincount(difficulty.choose(np.random.default_rng(1), 3000), minlength=3)
    assert drawn[1] > drawn[2] > drawn[0] > 300
    other = HardExampleSampler(scenes, levels=4)
    other.load_state_dict(difficulty.state_dict())
    again = other.choose(np.random.default_rng(1), 3000)
    assert np.array_equal(np.bincount(again, minlength=3), drawn)


def test_redrawn_latents_keep_their_shape_and_depend_on_the_words(folder: Path) -> None:
    torch.manual_seed(0)
    encoder, unet = make_text_encoder(folder), make_unet()
    trained = {"unet": unet.state_dict(), "text_encoder": encoder.state_dict()}
    torch.save(trained, result(folder, "diffusion"))
    redraw, clean = LatentRefiner(folder), torch.randn(2, 4, 16, 16)
    one = redraw(StepRandom(1, 0, 0), clean, ["a cat", "a dog"])
    assert one.shape == clean.shape
    assert torch.equal(one, redraw(StepRandom(1, 0, 0), clean, ["a cat", "a dog"]))
    assert not torch.equal(one[1], redraw(StepRandom(1, 0, 0), clean, ["a cat", "a bus"])[1])


def test_short_captions_go_on_with_their_last_padding(folder: Path) -> None:
    encoder = make_text_encoder(folder).eval()
    with torch.no_grad():
        words = embed(encoder, Ids(folder)(["a cat"]))
    assert words.shape == (1, 77, 128)
    assert torch.equal(words[:, SHORT:], words[:, SHORT - 1 : SHORT].expand(-1, 77 - SHORT, -1))


def test_a_picture_of_the_thing_itself_is_well_drawn(shapes: Sprites) -> None:
    picture = render(red_circle(), shapes)
    assert best_psnr(picture, "red circle", shapes) > 50
    assert best_psnr(picture, "red square", shapes) < 25


def test_psnr_of_a_known_error() -> None:
    flat = torch.zeros(1, 3, 8, 8)
    assert psnr(flat + 0.2, flat).item() == pytest.approx(20.0, abs=1e-3)


def test_the_judge_looks_where_each_thing_may_stand() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        scene = sample(rng)
        looks = crop_boxes(scene)
        assert len(looks) == len(scene.placements)
        for box, (left, top, side) in zip(scene.placements, looks, strict=True):
            assert left <= box.left
            assert top <= box.top
            assert box.left + box.size <= left + side
            assert box.top + box.size <= top + side
        assert crops(torch.zeros(3, 128, 128), scene).shape[1:] == (3, 40, 40)


def test_the_map_of_a_scene_names_thing_and_ground() -> None:
    cells = layout(red_circle()).view(8, 8)
    assert cells[4, 4] != cells[0, 0]
    assert (cells == cells[4, 4]).sum() == 25


def test_the_best_match_is_the_least_of_all_errors(shapes: Sprites) -> None:
    rng = np.random.default_rng(3)
    picture = rng.random((128, 128, 3), np.float32)
    ground = np.array([0.2, 0.5, 0.7], np.float32)
    sprite = shapes("red star", 70)
    height, width = sprite.shape[:2]
    found = errors(picture, ground, sprite)
    for top, left in ((0, 0), (20, 31), (128 - height, 128 - width)):
        drawn = np.broadcast_to(ground, picture.shape).copy()
        region = drawn[top : top + height, left : left + width]
        region *= 1 - sprite[..., 3:]
        region += sprite[..., :3]
        assert found[top, left] == pytest.approx(np.square(drawn - picture).mean(), rel=1e-4)


def test_workers_that_fetch_the_emoji_at_once_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The download is in parts of its own, and its name appears when it is whole."""
    text = b'{"icons": {}}'
    monkeypatch.setattr(sprites, "ICONS_SHA256", hashlib.sha256(text).hexdigest())
    meeting = threading.Barrier(2, timeout=20)
    npm = tmp_path / "npm"
    npm.write_text(NPM.replace("PYTHON", sys.executable))
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def fetch(_: int) -> bytes:
        meeting.wait()
        return sprites.fetch_icons(tmp_path / "work").read_bytes()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fetch, range(2))) == [text, text]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["icons.json"]


# Writes the package slowly, in two parts, as a download does.
NPM = """#!PYTHON
import io, tarfile, time
with tarfile.open("icons.tgz", "w:gz") as tar:
    data = b'{"icons": {}}'
    time.sleep(0.2)
    info = tarfile.TarInfo("package/icons.json")
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
print("icons.tgz")
"""
