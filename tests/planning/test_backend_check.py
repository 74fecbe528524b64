"""What OpenVINO cannot do is refused before anything is loaded."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from sdcli.errors import UsageError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.backend_check import (
    backend_faults,
    check_backend,
    check_layers_are_visible,
)
from sdcli.request import GenerationRequest
from tests.jobs import make_job

OPENVINO = PipelineSpec(backend="openvino", device="cpu", dtype="float32")


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO is found, whether it is installed or not."""
    sys_module = type(sys)("openvino")
    sys_module.__spec__ = sys.__spec__
    monkeypatch.setitem(sys.modules, "openvino", sys_module)


JOBS = [
    ({"lora": "x.safetensors:1"}, "does not support --lora: it changes weights"),
    ({"controlnet": "canny"}, "does not support --controlnet: it adds to the layers"),
    ({"ip_adapter": "plus"}, "does not support --ip-adapter: it adds to the layers"),
    ({"freeu": "1.1,1.2,0.9,0.2"}, "does not support --freeu: it changes layers"),
    ({"pag_scale": 3.0}, "does not support --pag: it changes the attention"),
    ({"compile": True}, "does not support --compile: OpenVINO compiles"),
    ({"feature_cache": 2}, "does not support --feature-cache: it leaves out layers"),
]
SPECS = [
    ({"device": "cuda"}, "runs on the CPU, not on cuda"),
    ({"device": "cuda:1"}, "runs on the CPU, not on cuda:1"),
    ({"device": "mps"}, "runs on the CPU, not on mps"),
    ({"dtype": "float16"}, "computes in float32 or bfloat16, not in float16"),
]


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(("changes", "message"), JOBS)
def test_a_job_with_what_openvino_cannot_do_has_one_fault(changes, message):
    [fault] = backend_faults(make_job(spec=OPENVINO, **changes))
    assert f"backend: openvino {message}" in fault.message
    assert (fault.code, fault.exit_code, "--backend torch" in fault.hint) == (
        "usage.backend",
        2,
        True,
    )
    assert list(backend_faults(make_job(**changes))) == []


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(("changes", "message"), SPECS)
def test_so_has_a_device_or_dtype_that_it_does_not_know(changes, message):
    spec = replace(OPENVINO, **changes)
    [fault] = backend_faults(make_job(spec=spec))
    assert fault.message == f"backend: openvino {message}"
    with pytest.raises(UsageError, match="openvino"):
        check_backend(spec)
    check_backend(replace(spec, backend="torch"))


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("changes", [{}, {"device": "auto"}, {"dtype": "bfloat16"}])
def test_what_it_can_do_has_none(changes):
    spec = replace(OPENVINO, **changes)
    assert list(backend_faults(make_job(spec=spec, eta=0.5, clip_skip=1))) == []


def test_what_observes_layers_is_refused():
    request = GenerationRequest(prompt="a cat", spec=OPENVINO)
    with pytest.raises(UsageError, match="openvino does not support --trace"):
        check_layers_are_visible(request, "--trace")
    check_layers_are_visible(GenerationRequest(prompt="a cat"), "--trace")


def test_without_the_package_the_hint_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError) as raised:
        check_backend(OPENVINO)
    assert raised.value.message == "backend: openvino is not installed"
    assert raised.value.hint == "pip install openvino, or use --backend torch"


def test_a_job_counts_the_backend_only_if_it_is_not_torch():
    torch = make_job()
    openvino = make_job(spec=replace(torch.spec, backend="openvino"))
    assert torch.id != openvino.id
    assert torch.timing_key != openvino.timing_key
    assert torch.batch_key != openvino.batch_key
    # The id of this job before there was a choice.
    assert torch.id == "99baa5e255e9216ea2706a5401b6c77b"


@pytest.mark.parametrize("backend", ["onnx", "", "OpenVINO"])
def test_other_names_are_refused(backend):
    with pytest.raises(UsageError, match=r"^backend: "):
        PipelineSpec(backend=backend)


@pytest.mark.usefixtures("_installed")
def test_weights_of_8_bits_are_those_of_torch():
    [fault] = backend_faults(make_job(spec=replace(OPENVINO, weights_dtype="fp8")))
    assert "does not support --weights-dtype" in fault.message
