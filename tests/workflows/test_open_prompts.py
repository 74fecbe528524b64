"""Test that prompt files are validated as a whole, and invalid entries skipped on request."""

from __future__ import annotations

import pytest

from sdcli.errors import ExitCode, UsageError, UsageErrors
from sdcli.prompts.expansion import RequestTemplate
from sdcli.terminal.console import Console
from sdcli.workflows.open_prompts import open_prompts


@pytest.fixture
def files(tmp_path):
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text('{"prompt": "a cat"}\n{"prompt": "a dog", "count": 2}\n')
    bad.write_text('{"prompt": "a fish"}\n{"prompt": "a bird", "steps": 0}\n{"steps": 3}\n')
    return str(good), str(bad)


def open_files(*files, keep_going=False):
    return open_prompts(list(files), None, RequestTemplate(), keep_going, False, Console())


def prompts_of(source):
    return [request.prompt for request in source.take(9, wait=True)]


def test_files_are_read_twice_with_the_same_requests(files):
    opened = open_files(files[0])
    assert (opened.images, opened.skipped) == (3, 0)
    assert prompts_of(opened.source) == prompts_of(opened.reopen()) == ["a cat", "a dog"]
    assert opened.worst(ExitCode.OK) == ExitCode.OK


def test_one_invalid_entry_refuses_all_files(files):
    with pytest.raises(UsageErrors) as caught:
        open_files(*files)
    assert len(caught.value.several) == 2


def test_invalid_entries_are_reported_and_skipped(files, capfd):
    opened = open_files(*files, keep_going=True)
    assert (opened.images, opened.skipped) == (4, 2)
    assert prompts_of(opened.source) == ["a cat", "a dog", "a fish"]
    assert opened.worst(ExitCode.OK) == ExitCode.PARTIAL
    assert opened.worst(ExitCode.MODEL) == ExitCode.MODEL
    assert capfd.readouterr().err.count("error:") == 2


def test_a_stream_is_read_alone_and_by_one_process(files, monkeypatch):
    with pytest.raises(UsageError, match="combined with other files"):
        open_files("-", files[0])
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="several ranks"):
        open_files("-")
