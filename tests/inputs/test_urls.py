"""URLs in place of paths: those of files are paths, those of stores are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.errors import UsageError
from sdcli.inputs.paths import expand_user, is_url


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


def test_urls_of_stores():
    urls = ["s3://b/a", "memory://a", "simplecache::s3://b/a", "https://x/y"]
    assert all(map(is_url, urls))
    assert not any(map(is_url, ["file:///a", "local:///a", "out", "a::b", "-", "c://x"]))
