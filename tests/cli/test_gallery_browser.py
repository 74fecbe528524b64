"""The page of a gallery in a browser: filters, comparison, copying, ratings, hostile prompts.

Needs Chromium (`apt install chromium`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdcli.cli import main
from tests.cli.conftest import CHROMIUM
from tests.gallery_images import write_batch

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium"),
    pytest.mark.timeout(600),
]

STEPS = "num_inference_steps"
HOSTILE = (
    "</script><script>document.title='PWNED'</script>",
    "<img src=x onerror=\"document.title='PWNED'\">",
    "{{7*7}} <!--<script> \u2028 '\"& \x00 \x1b[31m",
    "\u202egnitset \u05d0\u05d1",
)
ROWS: dict[str, dict[str, Any]] = {
    "a.png": {"prompt": "a cat and a guitar", "scheduler": "Euler", "seed": 9, STEPS: 4},
    "b.png": {"prompt": "a cat", "scheduler": "DDIM", "seed": 10, STEPS: 4},
    "c.png": {
        "prompt": "a dog",
        "scheduler": "Euler",
        "seed": 11,
        STEPS: 20,
        "extra": {"sku": "P7"},
    },
    **{f"h{i}.png": {"prompt": text, "seed": 20 + i} for i, text in enumerate(HOSTILE)},
}

CONTRASTS = """() => {
  const channel = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = color => {
    const [r, g, b] = color.match(/[0-9.]+/g).map(channel);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
  const pairs = [["#status", "body"], [".card .prompt", ".card"], [".card .quiet", ".card"],
    ["label", "body"], ["#copy", "#copy"], ["#zoom-file", "#zoom"]];
  return pairs.map(([text, ground]) => {
    const values = [style(text, "color"), style(ground, "backgroundColor")].map(luminance);
    return (Math.max(...values) + 0.05) / (Math.min(...values) + 0.05);
  });
}"""
"""The contrast of text to its ground, as WCAG 2 defines it."""


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery") / "<img src=x onerror=alert(1)>"
    write_batch(folder, ROWS)
    assert main(["gallery", str(folder), "-q"]) == 0
    return folder / "gallery.html"


class Opened:
    """A page in the browser, with everything that it requested and logged."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1000, "height": 800}, **options)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.log: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.log.append(message.text))
        self.page.on("pageerror", lambda error: self.log.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def names(self) -> list[str]:
        """The files of the images that are shown, in order."""
        links = "els => els.map(e => images[cards.findIndex(c => c.item === e)].name)"
        names: list[str] = self.page.eval_on_selector_all(".card", links)
        return names

    def status(self) -> str:
        return str(self.page.locator("#status").inner_text())


@pytest.fixture
def opened(browser: Any, html: Path) -> Iterator[Opened]:
    opened = Opened(browser, html)
    yield opened
    assert opened.log == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [html.as_uri()]
    opened.context.close()


def test_filters_and_order(opened: Opened) -> None:
    page = opened.page
    assert opened.status() == f"{len(ROWS)} images"
    page.fill("#words", "CAT a")
    assert opened.names() == ["a.png", "b.png"]
    page.fill("#words", "cat -guitar")
    assert opened.names() == ["b.png"]
    assert opened.status() == f"1 of {len(ROWS)} images"
    page.click("#reset")
    page.click("#filters summary")
    page.get_by_label("scheduler", exact=True).select_option(label="Euler")
    assert opened.names() == ["a.png", "c.png"]
    page.get_by_label("steps", exact=True).select_option(label="20")
    assert opened.names() == ["c.png"]
    assert page.locator("#active").inner_text() == "(2 active)"
    page.click("#reset")
    page.get_by_label("sku", exact=True).select_option(label="P7")
    assert opened.names() == ["c.png"]
    page.fill("#words", "nothing")
    assert page.locator("#none").is_visible()
    page.click("#reset")
    page.select_option("#sort", "seed")
    page.click("#direction")
    assert opened.names()[-3:] == ["c.png", "b.png", "a.png"]  # 11, 10, 9: by number


def test_a_comparison_shows_what_differs(opened: Opened) -> None:
    page = opened.page
    marks = page.locator(".card input[type=checkbox]")
    assert page.locator("#compare").is_disabled()
    marks.nth(0).check()
    marks.nth(2).check()
    page.click("#compare")
    rows = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts()
        for row in page.locator("#differences tr").all()
    }
    assert rows["seed"] == ["9", "11"]
    assert rows["steps"] == ["4", "20"]
    assert rows["sku"] == ["–", "P7"]
    assert "scheduler" not in rows
    page.focus("#divider")
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    width = page.locator("#left").bounding_box()["width"]
    at = page.evaluate(
        "parseFloat(getComputedStyle(document.getElementById('split')).getPropertyValue('--at'))"
    )
    assert at == pytest.approx(0.3 * width, abs=1)
    assert "30 %" in page.locator("#divider").get_attribute("aria-valuetext")
    page.click("#side")
    boxes = [page.locator(side).bounding_box() for side in ("#left", "#right")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    page.click("#swap")
    assert page.locator("#left-name").inner_text() == "c.png"
    page.keyboard.press("Escape")
    assert not page.locator("#pair").is_visible()


def test_the_keyboard_moves_rates_copies_and_enlarges(opened: Opened) -> None:
    page = opened.page
    page.locator(".picture").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("4")
    page.keyboard.press("c")
    page.wait_for_function("document.getElementById('status').textContent.startsWith('Copied')")
    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith("sdcli generate ")
    assert "--seed=10" in command
    page.keyboard.press("Enter")
    assert page.locator("#zoom-title").inner_text() == "b.png"
    assert page.locator("#zoom-rating").input_value() == "4"
    assert page.locator("#zoom-command").inner_text() == command
    before = page.locator("#zoom-image").bounding_box()["width"]
    page.keyboard.press("+")
    assert page.locator("#zoom-image").bounding_box()["width"] == pytest.approx(1.5 * before, abs=1)
    page.keyboard.press("f")
    page.keyboard.press("ArrowRight")
    assert page.locator("#zoom-title").inner_text() == "c.png"
    assert page.locator("#zoom-file").get_attribute("href") == "c.png"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "picture"
    page.keyboard.press("x")
    page.keyboard.press("Home")
    page.keyboard.press("x")
    page.keyboard.press("v")
    assert page.locator("#pair").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "words"


def test_ratings_are_kept_in_the_saved_page_and_in_json(
    opened: Opened, browser: Any, tmp_path: Path
) -> None:
    page = opened.page
    page.locator(".stars").nth(1).select_option("5")
    page.locator(".stars").nth(4).select_option("2")
    with page.expect_download() as saved:
        page.click("#save")
    saved.value.save_as(tmp_path / "rated.html")
    with page.expect_download() as exported:
        page.click("#export")
    document = json.loads(Path(exported.value.path()).read_text())
    assert document == {"schema": "sdcli/ratings/1", "ratings": {"b.png": 5, "h1.png": 2}}
    again = Opened(browser, tmp_path / "rated.html")
    assert len(again.names()) == len(ROWS)
    again.page.select_option("#rated", "2")
    assert again.names() == ["b.png", "h1.png"]
    again.page.select_option("#sort", "rating")
    assert again.names() == ["h1.png", "b.png"]
    # Saved twice, it is the same page.
    with again.page.expect_download() as resaved:
        again.page.click("#save")
    assert Path(resaved.value.path()).read_text() == (tmp_path / "rated.html").read_text()
    assert again.log == []
    again.context.close()


def test_hostile_prompts_are_text(opened: Opened) -> None:
    page = opened.page
    assert page.title() == "<img src=x onerror=alert(1)>"
    texts = page.locator(".card .prompt").all_text_contents()
    for text in HOSTILE:
        assert text in texts
    assert page.locator("main img").count() == len(ROWS)
    for i in range(len(HOSTILE)):
        page.locator(".picture").nth(3 + i).click()
        page.keyboard.press("Escape")
    assert page.locator("script").count() == 3
    assert "PWNED" not in page.title()


def test_nothing_else_can_run_or_be_requested(browser: Any, html: Path) -> None:
    opened = Opened(browser, html)
    attempt = """async () => {
      const results = [];
      results.push(await fetch("https://example.com/").then(() => "fetched", () => "blocked"));
      const image = new Image();
      const loaded = new Promise(done => {
        image.onload = () => done("loaded");
        image.onerror = () => done("blocked");
      });
      image.src = "https://example.com/x.png";
      results.push(await loaded);
      const script = document.createElement("script");
      script.textContent = "document.title = 'RAN'";
      document.body.append(script);
      results.push(document.title === "RAN" ? "ran" : "blocked");
      const div = document.createElement("div");
      div.innerHTML = '<p style="position:fixed">x</p>';
      document.body.append(div);
      const position = getComputedStyle(div.firstChild).position;
      results.push(position === "fixed" ? "styled" : "blocked");
      return results;
    }"""
    assert opened.page.evaluate(attempt) == ["blocked"] * 4
    opened.context.close()


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_text_is_readable(
    browser: Any, html: Path, width: int, scheme: str
) -> None:
    opened = Opened(browser, html, color_scheme=scheme, reduced_motion="reduce")
    page = opened.page
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".picture").first.click()
    assert page.evaluate("document.getElementById('zoom').scrollWidth") <= width
    assert min(page.evaluate(CONTRASTS)) >= 4.5
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.card')).transitionDuration")
        == "0s"
    )
    opened.context.close()


def test_every_control_has_a_name(opened: Opened) -> None:
    page = opened.page
    page.click("#filters summary")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button,select,input,a[href]")]
          .filter(e => !e.getAttribute("aria-label") && !e.labels?.length
            && !(["BUTTON", "A"].includes(e.tagName) && e.textContent.trim()))
          .map(e => e.outerHTML)"""
    )
    assert nameless == []
    assert page.get_by_role("list", name="Images").get_by_role("listitem").count() == len(ROWS)


def test_linked_images_load_from_their_folder(browser: Any, html: Path) -> None:
    page_file = html.with_name("links.html")
    assert main(["gallery", str(html.parent), "--links", "-o", str(page_file), "-q"]) == 0
    opened = Opened(browser, page_file)
    opened.page.wait_for_function(
        "[...document.querySelectorAll('.card img')].every(i => i.naturalWidth === 32)"
    )
    assert opened.log == []
    assert all(url.startswith("file:") for url in opened.requests if not url.startswith("data:"))
    opened.context.close()
