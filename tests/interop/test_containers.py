"""Test that a record is read from every container that programs put it in."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest
from PIL import Image

from sdcli.interop.export import to_request_fields
from sdcli.interop.readers import describe_unreadable, read_foreign
from sdcli.storage.images.codec import read_image_info
from sdcli.storage.images.embedded_text import read_embedded_text
from tests.interop.images import png, with_exif, with_hidden_text, with_xmp
from tests.interop.test_comfyui import PLAIN
from tests.interop.test_readers import FOOOCUS, NOVELAI
from tests.storage.png_files import chunk

COMMENT, DESCRIPTION, MAKE, MODEL = 0x9286, 0x010E, 0x010F, 0x0110
A1111 = "a cat\nNegative prompt: a dog\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5"
GRAPH = json.dumps(PLAIN)
WORKFLOW = json.dumps({"nodes": [], "links": []})
SWARM = json.dumps(
    {
        "sui_image_params": {
            "prompt": "a cat", "negativeprompt": "a dog", "model": "sd15", "seed": 5, "steps": 20,
            "cfgscale": 7.0, "width": 512, "height": 640, "sampler": "dpmpp_2m",
            "scheduler": "karras", "swarm_version": "0.9",
        },
        "sui_extra_data": {"date": "2025-01-01", "original_prompt": "a <random:cat,dog>"},
    }
)  # fmt: skip
DRAW_THINGS = json.dumps(
    {"c": "a cat", "uc": "a dog", "model": "sd15.ckpt", "sampler": "Euler a", "scale": 7.5,
     "seed": 5, "size": "512x640", "steps": 20, "v2": {"seed": 5}}
)  # fmt: skip
XMP = (
    "<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'>"
    "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description "
    "xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:xmp='http://ns.adobe.com/xap/1.0/' "
    "xmlns:exif='http://ns.adobe.com/exif/1.0/' xmp:CreatorTool='Draw Things'>"
    "<dc:description><rdf:Alt><rdf:li xml:lang='x-default'>a cat, Steps: 20</rdf:li></rdf:Alt>"
    "</dc:description><exif:UserComment><rdf:Alt><rdf:li xml:lang='x-default'>{}</rdf:li></rdf:Alt>"
    "</exif:UserComment></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
)
FOOOCUS_TEXT = json.dumps(FOOOCUS)
Writer = Callable[[Path], Path]


def exif(first: dict[int, object] | None = None, second: dict[int, object] | None = None) -> Writer:
    return lambda path: with_exif(path, first, second)


def unicode(text: str, encoding: str = "utf-16-be") -> bytes:
    return b"UNICODE\0" + text.encode(encoding)


FILES: dict[str, tuple[str, Writer, str]] = {
    "Fooocus JPEG": (".jpg", exif({COMMENT: FOOOCUS_TEXT, 0x0131: "Fooocus v2.5"}), "Fooocus"),
    "Fooocus WebP": (".webp", exif({COMMENT: FOOOCUS_TEXT, 0x927C: b"fooocus"}), "Fooocus"),
    "Fooocus in the second IFD": (".jpg", exif(None, {COMMENT: unicode(FOOOCUS_TEXT)}), "Fooocus"),
    "ComfyUI WebP": (
        ".webp", exif({MODEL: f"prompt:{GRAPH}", MAKE: f"workflow:{WORKFLOW}"}), "ComfyUI",
    ),
    "ComfyUI JPEG": (
        ".jpg", exif({MAKE: f"Prompt: {GRAPH}", DESCRIPTION: f"Workflow: {WORKFLOW}"}), "ComfyUI",
    ),
    "ComfyUI description": (".webp", exif({DESCRIPTION: f"prompt:{GRAPH}"}), "ComfyUI"),
    "ComfyUI UserComment": (
        ".jpg", exif(None, {COMMENT: unicode(json.dumps({"prompt": PLAIN, "workflow": {}}))}),
        "ComfyUI",
    ),
    "ComfyUI UserComment, as text": (
        ".jpg", exif(None, {COMMENT: unicode(json.dumps({"prompt": GRAPH, "workflow": "{}"}))}),
        "ComfyUI",
    ),
    "ComfyUI UserComment, the graph": (".jpg", exif(None, {COMMENT: unicode(GRAPH)}), "ComfyUI"),
    "SwarmUI PNG": (".png", lambda path: png(path, {"parameters": SWARM}), "SwarmUI"),
    "SwarmUI JPEG": (".jpg", exif(None, {COMMENT: unicode(SWARM)}), "SwarmUI"),
    "SwarmUI WebP": (".webp", exif({COMMENT: SWARM}), "SwarmUI"),
    "Draw Things PNG": (
        ".png", lambda path: with_xmp(path, XMP.format(escape(DRAW_THINGS))), "Draw Things",
    ),
    "Draw Things JPEG": (
        ".jpg", lambda path: with_xmp(path, XMP.format(escape(DRAW_THINGS))), "Draw Things",
    ),
    "NovelAI PNG": (".png", lambda path: png(path, NOVELAI), "NovelAI"),
    "NovelAI alpha": (
        ".png", lambda path: with_hidden_text(path, json.dumps(NOVELAI), packed=True), "NovelAI",
    ),
    "NovelAI alpha, not packed": (
        ".png", lambda path: with_hidden_text(path, json.dumps(NOVELAI), packed=False), "NovelAI",
    ),
    "NovelAI colours": (
        ".png",
        lambda path: with_hidden_text(path, json.dumps(NOVELAI), packed=True, colors=True),
        "NovelAI",
    ),
    "NovelAI WebP": (
        ".webp", lambda path: with_hidden_text(path, json.dumps(NOVELAI), packed=True), "NovelAI",
    ),
    "NovelAI UserComment": (
        ".webp", exif(None, {COMMENT: unicode(json.dumps(NOVELAI))}), "NovelAI",
    ),
    "A1111 alpha": (".png", lambda path: with_hidden_text(path, A1111, packed=False), "A1111"),
    "A1111 JPEG": (".jpg", exif(None, {COMMENT: unicode(A1111)}), "A1111"),
    "A1111 UserComment of UTF-8": (".jpg", exif(None, {COMMENT: unicode(A1111, "utf-8")}), "A1111"),
    "A1111 first IFD": (".webp", exif({COMMENT: A1111}), "A1111"),
    "A1111 description": (".jpg", exif({DESCRIPTION: A1111}), "A1111"),
    "A1111 XPComment": (".jpg", exif({0x9C9C: A1111.encode("utf-16-le")}), "A1111"),
    "A1111 another keyword": (".png", lambda path: png(path, {"Description": A1111}), "A1111"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_record_is_read_from_its_container(tmp_path: Path, name: str) -> None:
    suffix, write, generator = FILES[name]
    path = write(tmp_path / f"x{suffix}")
    record = read_foreign(path, read_image_info(path)["parameters"])
    assert record is not None, read_embedded_text(path)
    assert record.generator == generator
    fields, _ = to_request_fields(record)
    assert (fields["prompt"], fields["seed"]) == ("a cat", 5)
    assert "scheduler" in fields


def test_settings_of_swarmui_and_draw_things_become_fields(tmp_path: Path) -> None:
    common = {
        "prompt": "a cat", "negative_prompt": "a dog", "num_inference_steps": 20, "seed": 5,
        "width": 512, "height": 640,
    }  # fmt: skip
    record = read_foreign(png(tmp_path / "a.png", {"parameters": SWARM}), None)
    assert record
    fields, left = to_request_fields(record)
    assert fields == common | {"guidance_scale": 7.0, "scheduler": "dpmpp_2m karras"}
    assert left == {"model": "sd15"}
    assert record.extra["original_prompt"] == "a <random:cat,dog>"
    record = read_foreign(with_xmp(tmp_path / "b.png", XMP.format(escape(DRAW_THINGS))), None)
    assert record
    fields, _ = to_request_fields(record)
    assert fields == common | {"guidance_scale": 7.5, "scheduler": "Euler a"}


UNREAD: dict[str, tuple[str, Writer]] = {
    "a comment": (".jpg", exif(None, {COMMENT: b"ASCII\0\0\0Screenshot"})),
    "a camera": (".jpg", exif({MAKE: "Screenshot"})),
    "a chunk": (".png", lambda path: png(path, {"Comment": "Screenshot"})),
    "XMP": (".png", lambda path: with_xmp(path, XMP.format("Screenshot"))),
    "broken XMP": (".jpg", lambda path: with_xmp(path, "<x Screenshot")),
    "an entity": (".jpg", lambda path: with_xmp(path, "<!DOCTYPE x [<!ENTITY a 'Screenshot'>]>")),
}


@pytest.mark.parametrize("name", UNREAD)
def test_text_that_nobody_reads_is_shown(run_cli, tmp_path: Path, name: str) -> None:
    suffix, write = UNREAD[name]
    path = write(tmp_path / f"x{suffix}")
    assert read_foreign(path, read_image_info(path)["parameters"]) is None
    assert "Screenshot" in str(describe_unreadable(path))
    shown = run_cli("inspect", str(path)).stdout
    assert "none in this image" not in shown
    assert "Screenshot" in shown
    assert "Screenshot" in str(run_cli("inspect", str(path), "--json").document["unread"])
    ran = run_cli("inspect", str(path), "--as-command")
    assert (ran.code, "Screenshot" in ran.stderr) == (2, True)


def test_unread_text_is_shortened_and_escaped(run_cli, tmp_path: Path) -> None:
    path = png(tmp_path / "x.png", {"Comment": "\x1b[31m\u202e" + "x" * 5000})
    shown = run_cli("inspect", str(path)).stdout
    assert len(shown) < 1000
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_none_in_this_image_is_said_only_without_any_text(run_cli, tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".webp"):
        path = tmp_path / f"x{suffix}"
        Image.new("RGB", (8, 8)).save(path)
        assert "none in this image" in run_cli("inspect", str(path)).stdout


def test_damaged_exif_leaves_the_image_readable(run_cli, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.new("RGB", (8, 8)).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert run_cli("inspect", str(path)).code == 0


def test_hidden_text_of_a_wrong_length_or_packing_is_none(tmp_path: Path) -> None:
    whole = with_hidden_text(tmp_path / "x.png", "a" * 300, packed=False)
    with Image.open(whole) as image:
        image.crop((0, 0, 96, 20)).save(tmp_path / "cut.png")
        image.crop((0, 0, 1, 96)).save(tmp_path / "thin.png")
    for name in ("cut.png", "thin.png"):
        assert read_embedded_text(tmp_path / name) == {}


def text_png(path: Path, *chunks: tuple[bytes, bytes], after: bytes = b"") -> Path:
    """Write a PNG with chunks before the end, and bytes after that."""
    Image.new("RGB", (8, 8)).save(path)
    data = path.read_bytes()
    end = data.index(b"IEND") - 4
    path.write_bytes(data[:end] + b"".join(chunk(*item) for item in chunks) + data[end:] + after)
    return path


def test_utf8_in_a_chunk_of_latin_1_and_chunks_after_the_pixels(tmp_path: Path) -> None:
    for encoding in ("utf-8", "latin-1", "utf-8-sig"):
        text = b"parameters\0" + "a café\nSteps: 3, Seed: 5".encode(encoding)
        path = text_png(tmp_path / "x.png", (b"tEXt", text))
        record = read_foreign(path, read_image_info(path)["parameters"])
        assert record
        assert record.fields["prompt"] == "a café"


def test_exif_after_the_pixels_is_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[COMMENT] = A1111
    path = text_png(tmp_path / "x.png", (b"eXIf", exif.tobytes()))
    record = read_foreign(path, None)
    assert record
    assert record.fields["prompt"] == "a cat"


def test_packed_texts_and_broken_ones(tmp_path: Path) -> None:
    import zlib

    good = zlib.compress(A1111.encode())
    bomb = zlib.compress(bytes(32 * 2**20))
    for kind, start in ((b"zTXt", b"\0"), (b"iTXt", b"\1\0\0\0")):
        path = text_png(
            tmp_path / "x.png",
            (kind, b"bad\0" + start + good[:20]),
            (kind, b"bomb\0" + start + bomb),
            (kind, b"parameters\0" + start + good),
            (kind, b""),
            after=b"\xff\xff\xff\xfftEXt",
        )
        assert read_embedded_text(path).get("parameters") == A1111
        assert "bomb" not in read_embedded_text(path)


@pytest.mark.parametrize(
    "comment",
    [
        "UNICODE\0a cat 猫".encode(),
        b"UNICODE\0" + "\ufeffa cat 猫".encode(),
        b"UNICODE\0" + "a cat 猫".encode("utf-16-le"),
        b"UNICODE\0" + "a cat 猫".encode("utf-16"),
        "JIS\0\0\0\0\0a cat 猫\0\0".encode(),
    ],
)
def test_a_comment_is_decoded_whatever_it_says_of_itself(tmp_path: Path, comment: bytes) -> None:
    path = with_exif(tmp_path / "x.jpg", None, {COMMENT: comment})
    assert read_embedded_text(path)["UserComment"] == "a cat 猫"


def test_nul_is_in_no_text(tmp_path: Path) -> None:
    path = with_exif(tmp_path / "x.jpg", None, {COMMENT: b"ASCII\0\0\0a\0b\0"})
    assert read_embedded_text(path) == {"UserComment": "a\ufffdb"}
    path = text_png(tmp_path / "x.png", (b"tEXt", b"parameters\0a\0b\0"))
    assert read_embedded_text(path) == {"parameters": "a\ufffdb"}
