"""The command line with a hub of its own (HF_ENDPOINT) that is slow, refuses or breaks off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from tests.checkpoints.hub_server import (
    NO_SOCKETS,
    REPO,
    HubServer,
    read_files,
    run_process,
    serving,
)

UNET = "unet/diffusion_pytorch_model.safetensors"
SMALL_CHUNKS = "import huggingface_hub.constants as c; c.DOWNLOAD_CHUNK_SIZE = 1 << 16"
"""The client writes, and so resumes from, chunks of 10 MiB, more than the model has."""


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving(HubServer(read_files(EMBEDDED_FOLDER))) as server:
        yield server


def assert_complete(folder: Path) -> None:
    for name in ("model_index.json", UNET, "tokenizer/vocab.json"):
        assert (folder / name).read_bytes() == (EMBEDDED_FOLDER / name).read_bytes()


def test_a_mirror_serves_a_model_that_then_needs_no_network(hub: HubServer, tmp_path: Path) -> None:
    pulled = run_process("models", "pull", REPO, cache=tmp_path, endpoint=hub.address)
    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert_complete(Path(pulled.stdout.strip()))
    argv = ("generate", "a cat", "--steps", "1", "--offline", "-m", REPO, "-o", "-")
    ran = run_process(*argv, cache=tmp_path, prelude=NO_SOCKETS)
    assert ran.returncode == 0, ran.stderr
    for verb in ("list", "verify", "path"):
        name = [] if verb == "list" else [REPO]
        ran = run_process("models", verb, *name, cache=tmp_path, prelude=NO_SOCKETS)
        assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("extra", [["-m", REPO], ["--vae", REPO], ["--vae", "taesd"]])
def test_offline_opens_no_socket_for_what_is_missing(extra: list[str], tmp_path: Path) -> None:
    argv = ("generate", "a cat", "--offline", *extra, "-o", str(tmp_path / "a.png"))
    ran = run_process(*argv, cache=tmp_path, prelude=NO_SOCKETS)
    assert ran.returncode == 3
    assert "is not in the local cache" in ran.stderr
    assert "sdcli models pull" in ran.stderr


def test_the_sockets_are_forbidden_in_these_tests(hub: HubServer, tmp_path: Path) -> None:
    argv = ("models", "pull", REPO)
    ran = run_process(*argv, cache=tmp_path, endpoint=hub.address, prelude=NO_SOCKETS)
    assert ran.returncode != 0
    assert hub.requests == []


def test_a_transfer_that_breaks_off_is_resumed(hub: HubServer, tmp_path: Path) -> None:
    hub.cuts = {UNET: [1_000_000, 2_000_000]}
    argv = ("models", "pull", REPO)
    ran = run_process(*argv, cache=tmp_path, endpoint=hub.address, prelude=SMALL_CHUNKS)
    assert ran.returncode == 0, ran.stderr
    assert_complete(Path(ran.stdout.strip()))
    ranges = [request.rpartition("=")[2] for request in hub.requests if "bytes=" in request]
    begins = [int(text.rstrip("-")) for text in ranges]
    assert len(begins) == 2
    assert 900_000 < begins[0] <= 1_000_000
    assert begins[0] + 1_900_000 < begins[1] <= begins[0] + 2_000_000


def test_a_transfer_that_never_ends_is_an_error_and_continues_later(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.cuts = {UNET: [0] * 50}
    argv = ("models", "pull", REPO)
    ran = run_process(*argv, cache=tmp_path, endpoint=hub.address)
    assert ran.returncode == 3
    assert "the download broke off" in ran.stderr
    assert "Traceback" not in ran.stderr
    hub.cuts = {}
    hub.requests.clear()
    ran = run_process(*argv, cache=tmp_path, endpoint=hub.address)
    assert ran.returncode == 0
    assert hub.requested_files() == [UNET]
    assert_complete(Path(ran.stdout.strip()))


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "model.forbidden", "refuses access (401)"),
        (403, "model.forbidden", "refuses access (403)"),
        (404, "model.not_found", "(404)"),
        (429, "model.rate_limit", "allows no more requests for now (429)"),
        (500, "model.offline", "answers with an error (500)"),
        (503, "model.offline", "answers with an error (503)"),
    ],
)
def test_a_hub_that_refuses_is_named_with_its_status(
    status: int, code: str, words: str, hub: HubServer, tmp_path: Path
) -> None:
    hub.statuses = {"/api": status}
    for argv in (("models", "pull", REPO), ("generate", "a cat", "-m", REPO)):
        ran = run_process(*argv, "--json", cache=tmp_path, endpoint=hub.address)
        assert ran.returncode == 3, ran.stderr
        error = json.loads(ran.stdout)["error"]
        assert error["code"] == code
        assert words in error["message"]
        assert hub.address in error["message"]


@pytest.mark.parametrize(("status", "words"), [(401, "(401)"), (403, "(403)"), (404, "(404)")])
def test_so_is_a_hub_that_lists_files_and_then_refuses_them(
    status: int, words: str, hub: HubServer, tmp_path: Path
) -> None:
    hub.statuses = {UNET: status}
    ran = run_process("models", "pull", REPO, cache=tmp_path, endpoint=hub.address)
    assert (ran.returncode, words in ran.stderr) == (3, True), ran.stderr


def test_an_earlier_download_is_used_while_the_hub_fails(hub: HubServer, tmp_path: Path) -> None:
    pull = run_process("models", "pull", REPO, cache=tmp_path, endpoint=hub.address)
    hub.statuses = {"/api": 500}
    Path(tmp_path, "prompts.txt").write_text("a cat\n")
    argv = ("batch", str(tmp_path / "prompts.txt"), "--dry-run", "-m", REPO)
    ran = run_process(*argv, cache=tmp_path, endpoint=hub.address)
    assert ran.returncode == 0, ran.stderr
    again = run_process("models", "pull", REPO, cache=tmp_path, endpoint=hub.address)
    assert (pull.returncode, again.returncode) == (0, 3)


def test_a_slow_hub_is_waited_for(hub: HubServer, tmp_path: Path) -> None:
    hub.delay = 0.5
    ran = run_process("models", "pull", REPO, cache=tmp_path, endpoint=hub.address)
    assert ran.returncode == 0, ran.stderr


def test_one_file_is_pulled_by_its_name(hub: HubServer, tmp_path: Path) -> None:
    argv = ("models", "pull", REPO, "--file")
    ran = run_process(*argv, UNET, cache=tmp_path, endpoint=hub.address)
    assert ran.returncode == 0, ran.stderr
    assert hub.requested_files() == [UNET]
    assert Path(ran.stdout.strip()).read_bytes() == (EMBEDDED_FOLDER / UNET).read_bytes()
    wrong = run_process(*argv, UNET.replace("unet", "unit"), cache=tmp_path, endpoint=hub.address)
    assert (wrong.returncode, f"did you mean {UNET}?" in wrong.stderr) == (3, True)
    for name in ("README.md", "../../x.safetensors", "/etc/x.safetensors", "*.safetensors"):
        ran = run_process(*argv, name, cache=tmp_path, endpoint=hub.address)
        assert ran.returncode in (2, 3), ran.stderr
