"""The page of a traced run: scrubbing, maps of words, keyboard, hostile prompts, in a browser.

Needs Chromium (`apt install chromium`).
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from sdcli.cli import main
from tests.cli.conftest import CHROMIUM
from tests.cli.test_gallery_browser import CONTRASTS, HOSTILE, Opened
from tests.test_startup import HEAVY, probe

PROMPT = "a cat and a guitar on a blue background"
STEPS = 6
LATENTS, TENSORS = "image.latents.safetensors", "trace.safetensors"
in_browser = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium"),
    pytest.mark.timeout(600),
]

HEAT = """() => {
  const canvas = document.getElementById("heat");
  const copy = document.createElement("canvas");
  copy.width = canvas.width;
  copy.height = canvas.height;
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const data = context.getImageData(0, 0, copy.width, copy.height).data;
  let sum = 0, x = 0, y = 0;
  for (let i = 3; i < data.length; i += 4) {
    if (data[i] < 150) continue;
    sum += 1;
    x += ((i >> 2) % canvas.width) / canvas.width;
    y += Math.floor((i >> 2) / canvas.width) / canvas.height;
  }
  return [sum, x / sum, y / sum];
}"""
"""How many pixels of the map are hot, and the middle of them, from 0 to 1."""


def write_trace(folder: Path, prompt: str = PROMPT, *options: str) -> Path:
    quick = ("--steps", str(STEPS), "--seed", "7", "-q", *options)
    out = str(folder / "image-of-it.png")
    trace = folder / "trace"
    assert main(["generate", prompt, *quick, "--trace", str(trace), "-o", out]) == 0
    return trace


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trace(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def html(trace: Path) -> Path:
    assert main(["gallery", str(trace), "-q"]) == 0
    return trace / "gallery.html"


@pytest.fixture
def opened(browser: Any, html: Path) -> Iterator[Opened]:
    opened = Opened(browser, html)
    yield opened
    close_silent(opened, html)


def close_silent(opened: Opened, html: Path) -> None:
    assert opened.log == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [html.as_uri()]
    opened.context.close()


def number(opened: Opened) -> str:
    return str(opened.page.locator("#number").inner_text())


def saturation(opened: Opened) -> Any:
    """How far the channels of the pixels that the map's picture shows are apart, (128, 128)."""
    shot = opened.page.locator(".layers").screenshot()
    with Image.open(io.BytesIO(shot)) as image:
        pixels = np.asarray(image.convert("RGB").resize((128, 128))).astype(int)
    return pixels.max(2) - pixels.min(2)


class TestBrowser:
    pytestmark = in_browser

    def test_scrubbing_shows_the_images_and_the_facts_of_the_step(
        self, opened: Opened, trace: Path
    ) -> None:
        page = opened.page
        manifest = json.loads((trace / "trace.json").read_text())
        assert number(opened) == f"{STEPS} of {STEPS}"
        seen = set()
        for step in range(1, STEPS + 1):
            page.locator("#scrub").fill(str(step))
            assert number(opened) == f"{step} of {STEPS}"
            sigma = manifest["steps"][step - 1]["sigma"]
            assert f"Step {step}: noise level (sigma) {sigma:.3g}, " in page.inner_text("#fact")
            seen.add((page.get_attribute("#noisy", "src"), page.get_attribute("#predicted", "src")))
            assert page.evaluate("document.getElementById('noisy').decode().then(() => true)")
            line = page.locator(".now").first
            expected = 48 + (step - 1) / (STEPS - 1) * 400
            assert float(line.get_attribute("x1")) == pytest.approx(expected)
        assert len(seen) == STEPS
        assert not {noisy for noisy, _ in seen} & {predicted for _, predicted in seen}

    def test_a_plot_that_begins_later_has_no_line_before(
        self, browser: Any, tmp_path: Path
    ) -> None:
        """From pure noise the first noise level is infinite, and is not in the plot."""
        zero_snr = "ddim;rescale_betas_zero_snr=true;timestep_spacing=trailing"
        options = ("--scheduler", zero_snr, "--steps", "3", "--size", "64x64")
        folder = write_trace(tmp_path, PROMPT, *options)
        page = tmp_path / "page.html"
        assert main(["gallery", str(folder), "-q", "--vae", "linear", "-o", str(page)]) == 0
        opened = Opened(browser, page)
        sigma, distance = opened.page.locator(".now").all()
        visibility = "line => getComputedStyle(line).visibility"
        for step, (level, other) in enumerate([(None, 48), (48, 248), (448, 448)], 1):
            opened.page.locator("#scrub").fill(str(step))
            assert sigma.evaluate(visibility) == ("hidden" if level is None else "visible")
            assert level is None or float(sigma.get_attribute("x1")) == pytest.approx(level)
            assert distance.evaluate(visibility) == "visible"
            assert float(distance.get_attribute("x1")) == pytest.approx(other)
            assert ("infinite" in opened.page.inner_text("#fact")) == (step == 1)
        close_silent(opened, page)

    def test_a_hovered_word_lights_its_map(self, opened: Opened) -> None:
        page = opened.page
        assert page.evaluate(HEAT)[0] == 0
        middles = {}
        for word in ("cat", "guitar"):
            page.get_by_role("button", name=word).hover()
            assert word in page.inner_text("#which")
            hot, middles[word], _ = page.evaluate(HEAT)
            assert hot > 0
        lit = saturation(opened)
        page.mouse.move(5, 5)
        page.get_by_role("button", name="cat").hover()
        # What is painted, not only what the canvas holds: colours over an image in grey.
        assert saturation(opened)[:, :64].mean() > 2 * saturation(opened)[:, 64:].mean()
        assert lit[:, 64:].mean() > 2 * lit[:, :64].mean()
        # The cat is on the left and the guitar on the right.
        assert middles["cat"] < 0.5 < middles["guitar"]
        page.mouse.move(5, 5)
        assert page.evaluate(HEAT)[0] == 0
        page.get_by_role("button", name="cat").click()
        page.mouse.move(5, 5)
        assert page.evaluate(HEAT)[0] > 0
        pressed = page.locator("#words button[aria-pressed=true]")
        assert pressed.inner_text().startswith("cat")
        label = page.get_attribute("#heat", "aria-label")
        assert label.startswith("Map of “cat”, highest ")
        # Another step has another map.
        before = page.evaluate(HEAT)
        page.keyboard.press("Home")
        assert page.evaluate(HEAT) != before

    def test_everything_works_with_the_keyboard(self, opened: Opened) -> None:
        from playwright.sync_api import expect

        page = opened.page
        for key, expected in (
            ("ArrowLeft", STEPS - 1),
            ("Home", 1),
            ("ArrowLeft", 1),
            ("ArrowRight", 2),
            ("End", STEPS),
        ):
            page.keyboard.press(key)
            assert number(opened) == f"{expected} of {STEPS}"
        page.locator("#scrub").focus()
        page.keyboard.press("ArrowLeft")
        assert number(opened) == f"{STEPS - 1} of {STEPS}"
        page.locator("#words button").first.focus()
        assert page.evaluate(HEAT)[0] > 0
        page.keyboard.press("Enter")
        assert page.locator("#words button[aria-pressed=true]").count() == 1
        page.keyboard.press("Escape")
        assert page.locator("#words button[aria-pressed=true]").count() == 0
        assert page.evaluate(HEAT)[0] == 0
        page.locator("#words button").first.blur()
        page.keyboard.press("Space")
        assert page.inner_text("#play") == "Pause"
        expect(page.locator("#number")).not_to_have_text(f"{STEPS - 1} of {STEPS}")
        page.keyboard.press("Space")
        assert page.inner_text("#play") == "Play"

    def test_nothing_moves_by_itself(self, browser: Any, html: Path) -> None:
        opened = Opened(browser, html, reduced_motion="reduce")
        assert opened.page.inner_text("#play") == "Play"
        durations = "getComputedStyle(document.querySelector('button')).transitionDuration"
        assert opened.page.evaluate(durations) == "0s"
        close_silent(opened, html)

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text_can_be_read_in_both_modes(self, browser: Any, html: Path, scheme: str) -> None:
        opened = Opened(browser, html, color_scheme=scheme)
        pairs = '[["#fact", "body"], ["figcaption", "figure"], ["button small", "button"]]'
        start, end = CONTRASTS.index("[["), CONTRASTS.index("]];") + 2
        ratios = opened.page.evaluate(CONTRASTS[:start] + pairs + CONTRASTS[end:])
        assert min(ratios) >= 4.5
        close_silent(opened, html)

    def test_a_narrow_window_has_no_horizontal_scrolling(self, browser: Any, html: Path) -> None:
        opened = Opened(browser, html)
        opened.page.set_viewport_size({"width": 320, "height": 700})
        root = "document.documentElement"
        assert opened.page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
        close_silent(opened, html)

    def test_every_control_has_a_name(self, opened: Opened) -> None:
        snapshot = opened.page.locator("body").aria_snapshot()
        assert '- slider "Step"' in snapshot
        assert '- button "Play"' in snapshot
        assert '- button "cat ' in snapshot
        assert "- button\n" not in snapshot

    def test_hostile_prompts_are_text(self, browser: Any, tmp_path: Path) -> None:
        prompt = " ".join(HOSTILE[:2]) + " {{7*7}} '\"& <!--<script> \u2028 cat"
        folder = write_trace(tmp_path, prompt, "--prompt-syntax", "plain", "--size", "64x64")
        page = tmp_path / "page.html"
        assert main(["gallery", str(folder), "-q", "-o", str(page)]) == 0
        opened = Opened(browser, page)
        # The title is the prompt itself, not what its script would make of it.
        assert opened.page.title().startswith("</script><script>document.title")
        assert "{{7*7}}" in opened.page.inner_text("h1")
        assert opened.page.locator("script").count() == 2
        assert opened.page.locator("#words img").count() == 0
        close_silent(opened, page)

    def test_scripts_and_requests_of_others_are_blocked(self, browser: Any, html: Path) -> None:
        opened = Opened(browser, html)
        leak = "fetch('https://example.com').then(() => 'leak', () => 'blocked')"
        assert opened.page.evaluate(leak) == "blocked"
        add = """() => {
          const script = document.createElement("script");
          script.textContent = "document.title = 'PWNED'";
          document.body.append(script);
          return document.title;
        }"""
        assert opened.page.evaluate(add) == PROMPT
        opened.context.close()


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `explain`, of a prompt that would run as code if it could."""
    page = tmp_path_factory.mktemp("explained") / "page.html"
    prompt = f"{HOSTILE[0]} {HOSTILE[1]} a cat"
    options = ("--steps", "2", "--seed", "7", "--size", "64x64", "--prompt-syntax", "plain", "-q")
    assert main(["explain", prompt, *options, "-o", str(page)]) == 0
    return page


class TestExplanation:
    pytestmark = in_browser

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_the_page_can_be_read_and_is_silent(
        self, browser: Any, explained: Path, scheme: str
    ) -> None:
        opened = Opened(browser, explained, color_scheme=scheme)
        assert opened.page.locator("h2").count() == 12
        assert opened.page.locator("script").count() == 0
        assert opened.page.title().startswith("</script><script>document.title")
        assert opened.page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
        pairs = '[["section p", "section"], ["figcaption", "section"], ["th", "section"]]'
        start, end = CONTRASTS.index("[["), CONTRASTS.index("]];") + 2
        ratios = opened.page.evaluate(CONTRASTS[:start] + pairs + CONTRASTS[end:])
        assert min(ratios) >= 4.5
        opened.page.set_viewport_size({"width": 320, "height": 700})
        root = "document.documentElement"
        assert opened.page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
        close_silent(opened, explained)


def test_the_data_of_the_page_are_those_of_the_trace(html: Path, trace: Path) -> None:
    text = html.read_text("utf-8")
    data = json.loads(text.split('id="run">')[1].split("</script>")[0])
    assert [word["text"] for word in data["words"]] == ["cat", "guitar", "blue", "background"]
    tensors = load_file(trace / "trace.safetensors")
    maps = np.stack([tensors[f"attention_{i:04d}"] for i in range(1, STEPS + 1)])
    cat = data["words"][0]
    assert cat["share"] == f"{100 * maps[:, 2].mean():.1f} %"
    drawn = np.frombuffer(base64.b64decode(cat["maps"]), np.uint8).reshape(maps[:, 2].shape)
    assert drawn.max() == 255
    # Relative to the mean over the content words, tokens 2, 5, 8 and 9.
    own = maps / maps.mean((2, 3), keepdims=True)
    expected = np.clip(own[:, 2] - own[:, [2, 5, 8, 9]].mean(1), 0, None)
    assert np.abs(drawn / 255 - expected / expected.max()).max() < 0.003


def test_the_document_counts_the_steps(run_cli: Any, trace: Path) -> None:
    ran = run_cli("gallery", str(trace), "-o", "page.html", "--json", "--vae", "linear")
    assert ran.document == {"schema": "sdcli/gallery/1", "path": "page.html", "steps": STEPS}


@pytest.mark.parametrize(("thumbnail", "width"), [("1024", 640), ("64", 64)])
def test_the_images_have_the_size_of_the_option(
    run_cli: Any, tmp_path: Path, thumbnail: str, width: int
) -> None:
    folder = write_trace(tmp_path, PROMPT, "--steps", "1", "--size", "640x64")
    assert run_cli("gallery", str(folder), "-o", "p.html", "--thumbnail", thumbnail).code == 0
    data = Path("p.html").read_text("utf-8").split('id="run">')[1].split("</script>")[0]
    with Image.open(io.BytesIO(base64.b64decode(json.loads(data)["noisy"][0]))) as image:
        assert image.width == width


def test_the_approximation_needs_no_torch(trace: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "page.html")
    code, modules = probe("gallery", str(trace), "--vae", "linear", "-o", out)
    assert code == 0
    assert not HEAVY & modules


@pytest.mark.parametrize(("option", "code"), [(("--links",), 2), (("--vae", "nowhere"), 3)])
def test_options_that_do_not_fit_are_refused(
    run_cli: Any, trace: Path, option: Any, code: int
) -> None:
    ran = run_cli("gallery", str(trace), *option, "-o", "page.html")
    assert ran.code == code
    assert ran.stderr.startswith("sdcli: error: ")
    assert not Path("page.html").exists()


@pytest.mark.sample(6)
@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        '{"schema": "sdcli/trace/2"}',
        {"steps": []},
        {"steps": [{}]},
        {"words": [{"text": "cat", "index": 0, "tokens": [999]}]},
        {"files": {"image": "../x.png", "latents": "a", "tensors": "b"}},
        {"files": {"image": "image.png", "latents": "no.safetensors", "tensors": "no"}},
        {"files": {"image": "", "latents": LATENTS, "tensors": TENSORS}},
        {"files": {"latents": LATENTS, "tensors": TENSORS}},
        {"files": {"image": "image.png", "latents": LATENTS, "tensors": ".."}},
        {"tokens": None},
        {"record": {}},
        {"record": {"scheduler": {"config": "v_prediction"}}},
        {"words": [{"text": "cat", "index": 0, "tokens": [1.5]}]},
        {"words": [{"text": "cat", "index": "0", "tokens": [1]}]},
        {"first step": {"sigma": "14.6"}},
        {"first step": {"sigma": -1}},
        {"first step": {"guidance_share": True}},
        {"first step": {"attention": {"words": "1"}}},
        {
            "words": [{"text": "a", "index": 0, "tokens": [1]}],
            "first step": {"tensors": {"attention": "x0_0001"}},
        },
    ],
    ids=str,
)
def test_a_damaged_trace_is_one_error(
    run_cli: Any, trace: Path, tmp_path: Path, damage: Any
) -> None:
    for file in trace.iterdir():
        if file.suffix != ".html":
            (tmp_path / "run").mkdir(exist_ok=True)
            (tmp_path / "run" / file.name).write_bytes(file.read_bytes())
    manifest = tmp_path / "run" / "trace.json"
    if isinstance(damage, dict):
        contents = json.loads(manifest.read_text())
        first = contents["steps"][0]
        for key, value in damage.get("first step", {}).items():
            first[key] = {**first[key], **value} if isinstance(value, dict) else value
        damage = json.dumps({**contents, **damage})
    manifest.write_text(damage)
    ran = run_cli("gallery", "run", "-o", "page.html")
    assert (ran.code, ran.stdout) == (7, "")
    assert "trace.json" in ran.stderr
    assert "Traceback" not in ran.stderr
