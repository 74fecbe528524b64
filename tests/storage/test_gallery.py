"""The page of a gallery: its size, its policy and its data."""

from __future__ import annotations

import base64
import hashlib
import json
import re

from sdcli.storage.gallery.page import GalleryImage, gallery_data, render_page
from sdcli.storage.images.thumbnail import encode_thumbnail
from tests.gallery_images import sheet_images


def image(name: str, **settings: object) -> GalleryImage:
    return GalleryImage(
        name=name,
        href=name,
        source=f"data:,{name}",
        width=8,
        height=8,
        command=f"sdcli generate {name}",
        settings=settings,
        scores={},
    )


def data_of(html: str) -> dict[str, object]:
    [text] = re.findall(r'<script type="application/json" id="gallery">(.*?)</script>', html)
    document: dict[str, object] = json.loads(text)
    return document


def settings_of(data: dict[str, object]) -> list[dict[str, object]]:
    """The settings of each image, as the page's script reads them."""
    return [
        data["common"]
        | {
            column["name"]: column["values"][place]
            for column, place in zip(data["columns"], row[6], strict=True)
            if place >= 0
        }
        for row in data["images"]
    ]


def command_of(data: dict[str, object], index: int) -> str:
    """The command of an image, as the page's script reads it."""
    return " ".join(data["words"][word] for word in data["images"][index][5])


def test_the_page_has_every_setting_of_every_image() -> None:
    rows = [
        {"prompt": "a cat", "steps": 4, "eta": 0.0, "sku": "007"},
        {"prompt": "a cat", "steps": 20, "eta": 0.0},
        {"prompt": "a dog", "steps": 4, "eta": 0.0, "sku": True},
    ]
    images = [image(f"{i}.png", **row) for i, row in enumerate(rows)]
    data = data_of(render_page("x", images))
    assert settings_of(data) == rows
    assert data["common"] == {"eta": 0.0}


def test_values_that_json_does_not_have_are_text() -> None:
    data = gallery_data([image("a", cfg=float("nan"), steps=[1]), image("b", cfg=float("inf"))])
    assert settings_of(data) == [{"cfg": "nan", "steps": "[1]"}, {"cfg": "inf"}]
    json.dumps(data, allow_nan=False)


def test_text_that_utf8_does_not_have() -> None:
    html = render_page("\udcff", [image("a.png", prompt="\ud800\x00")])
    data = data_of(html.encode().decode())
    assert data["common"] | settings_of(data)[0] == {"prompt": "\ud800\x00"}


def test_only_the_style_and_the_script_of_the_page_are_allowed() -> None:
    html = render_page("x", [image("a.png")])
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    policy = policy.replace("&#39;", "'").replace("&#43;", "+")
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        [text] = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "img-src data:;" in policy
    assert not re.findall(r"""\son\w+=|\sstyle=|<script src|@import|url\(""", html)


def test_a_thousand_images_have_less_than_two_megabytes() -> None:
    thumbnails = [encode_thumbnail(pixels, 128) for pixels in sheet_images()]
    assert len({*thumbnails}) == 36
    images = [
        GalleryImage(
            name=f"{i:04d}-a-cat-and-a-guitar-on-a-blue-background-{i}.png",
            href=f"{i:04d}-a-cat-and-a-guitar-on-a-blue-background-{i}.png",
            source="data:image/webp;base64,"
            + base64.b64encode(thumbnails[i % len(thumbnails)]).decode(),
            width=128,
            height=128,
            command=f"sdcli generate --scheduler=Euler --steps=8 --guidance-rescale=0.0 --eta=0.0 "
            f"--seed={i} --vae-tiling=auto --size=128x128 'a cat on a blue background'",
            settings={"prompt": f"a cat on a {i % 90} background", "seed": i, "steps": i % 7},
            scores={"sharpness": i / 7},
        )
        for i in range(1000)
    ]
    assert 1_000_000 < len(render_page("x", images).encode()) < 2_000_000
