"""URLs in place of paths: those of files are paths, those of stores are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.errors import UsageError
from sdcli.inputs.paths import expand_user, is_url, output_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///tmp/my%20run", "/tmp/my run"),
        ("file://localhost/tmp/a", "/tmp/a"),
        ("FILE:///tmp/a", "/tmp/a"),
        ("a:/b", "a:/b"),
        ("c://x", "c:/x"),
        ("https://example.org/a.png", "https:/example.org/a.png"),
    ],
)
def test_paths(text, path):
    assert expand_user(text) == Path(path)


def test_a_path_made_of_a_url_is_known_as_one():
    assert expand_user(Path("file:///tmp/a")) == Path("/tmp/a")
    assert expand_user(Path("a:/b")) == Path("a:/b")
    with pytest.raises(UsageError, match="s3://b/a: a URL"):
        expand_user(Path("s3://b/a"))


@pytest.mark.parametrize("text", ["file://host/a", "file://", "s3://b/a", "gs://b", "hf::x://y"])
def test_what_is_no_path(text):
    with pytest.raises(UsageError):
        expand_user(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "s3:/bucket/run",
            "write s3://bucket/run; a file or folder of this name is ./s3:/bucket/run",
        ),
        ("memory:run", "write memory://run; "),
        ("gs:/x", "write gs://x; "),
        ("S3:x", "write S3://x; "),
        ("az:", "write az://; "),
        ("simplecache::s3:/b/run", "write simplecache::s3://b/run; "),
        ("https:/example.org/a", "write https://example.org/a; "),
        ("file:/home/me/run", "write file:///home/me/run; "),
        ("file:run", "write file:// and the whole path: file:///home/me/run; "),
    ],
)
def test_a_url_without_its_slashes_is_no_file(text, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=":// after") as caught:
        expand_user(text)
    assert str(caught.value.hint).startswith(hint)
    # Plainly a file of this machine, by its name or because it is there.
    assert expand_user(f"./{text}") == Path(text)
    assert expand_user(f"{tmp_path}/{text}") == tmp_path / text
    Path(text.partition("/")[0]).mkdir()
    assert expand_user(text) == Path(text)
    assert expand_user(Path(text)) == Path(text)


@pytest.mark.parametrize(
    "text", ["a:b", "c:/x", "run:1/a", "12:30", "images3:x", "memory", "x/s3:/b"]
)
def test_other_names_with_a_colon_are_files(text):
    assert output_path(text) == Path(text)


@pytest.mark.parametrize("text", ["https://x/y", "HTTP://x", Path("https://x/y")])
def test_nothing_is_written_to_the_web(text):
    with pytest.raises(UsageError, match=r"(?i)https?://x.*: can't write to the web"):
        output_path(text)
    assert output_path("./https://x") == Path("./https://x")


def test_urls_of_stores():
    urls = ["s3://b/a", "memory://a", "simplecache::s3://b/a", "https://x/y"]
    assert all(map(is_url, urls))
    assert not any(map(is_url, ["file:///a", "local:///a", "out", "a::b", "-", "c://x"]))
