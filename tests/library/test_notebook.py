"""A notebook, executed as Jupyter does, and what its reader sees."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

CELLS = {
    "import": "import sdcli",
    "images": 'images = sdcli.generate("a cat", steps=2, size="64x96", seed=7, count=2)\nimages',
    "result": "images[0]",
    "pillow": "images[0].image",
    "text": "print(images[0])",
    "save": 'images[0].save("cat.png")',
    "bar": 'len(sdcli.generate(["a cat", "a dog"], steps=2, size="64x64", progress=True))',
    "batch": 'sdcli.batch(["a cat", "a dog"], steps=1, size="64x64", seed=1)',
    "names": "sdcli.schedulers('karras sde')[0]",
    "completion": "c = get_ipython().Completer; c.use_jedi = False; c.complete('sdcli.gen')[1]",
    "warning": 'len(sdcli.generate("a flurb", steps=1, size="64x64"))',
    "mistake": 'sdcli.generate("a cat", stpes=3)',
}

Outputs = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        # No setting of the machine, and this sdcli in the kernel.
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(folder / name.lower()))
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        cells = [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
        notebook = nbformat.v4.new_notebook(cells=cells)
        NotebookClient(
            notebook,
            timeout=240,
            kernel_name="python3",
            allow_errors=True,
            resources={"metadata": {"path": str(folder)}},
        ).execute()
    return dict(zip(CELLS, (cell.outputs for cell in notebook.cells), strict=True))


def shown(outputs: Outputs, name: str) -> dict[str, Any]:
    """The data of the one output of a cell."""
    *streams, output = outputs[name]
    # A bar, if the machine is slow.
    assert all("images" in s["text"] or not s["text"].strip() for s in streams), streams
    assert output["output_type"] == "execute_result"
    data: dict[str, Any] = output["data"]
    return data


def png_size(data: dict[str, Any]) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size


def test_only_the_mistake_fails(outputs: Outputs) -> None:
    failed = [
        name for name, all_of in outputs.items() for o in all_of if o["output_type"] == "error"
    ]
    assert failed == ["mistake"]
    assert outputs["import"] == []


def test_results_are_pictures_with_one_line_of_text(outputs: Outputs) -> None:
    whole, single = shown(outputs, "images"), shown(outputs, "result")
    assert png_size(single) == (64, 96)
    assert 2 * 64 <= png_size(whole)[0] < 3 * 64
    assert single["text/plain"] == outputs["text"][0]["text"].rstrip("\n")
    assert "\n" not in single["text/plain"]
    assert png_size(shown(outputs, "pillow")) == (64, 96)


def test_values_are_shown_in_one_line(outputs: Outputs) -> None:
    texts = {name: shown(outputs, name)["text/plain"] for name in ("save", "names")}
    assert texts == {
        "save": "PosixPath('cat.png')",
        "names": "SchedulerInfo('DPM++ 2M SDE', class_name='DPMSolverMultistepScheduler')",
    }
    batch = outputs["batch"][-1]["data"]["text/plain"]
    assert batch == "BatchResult(made=2, skipped=0, failed=0, folder='outputs', errors=0)"


def test_names_are_completed(outputs: Outputs) -> None:
    assert "generate" in shown(outputs, "completion")["text/plain"]


def test_progress_is_shown_and_removed(outputs: Outputs) -> None:
    text = "".join(output.get("text", "") for output in outputs["bar"])
    assert "0/2 images, step 1/2" in text
    assert "Warning" not in text
    assert outputs["bar"][-1]["data"]["text/plain"] == "2"


def test_a_warning_and_an_error_have_their_reason(outputs: Outputs) -> None:
    assert "does not know these words: flurb" in outputs["warning"][0]["text"]
    error = outputs["mistake"][0]
    assert error["evalue"].startswith("generate() has no argument 'stpes'")
    traceback = "\n".join(error["traceback"])
    assert "hint: did you mean steps?" in traceback
    assert "arguments.py" not in traceback


def test_a_script_is_no_notebook() -> None:
    code = "import IPython; from sdcli.terminal.tqdm_progress import *; print(is_notebook())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
