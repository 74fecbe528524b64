"""A Python user at the prompt, before the first notebook: names, images, mistakes, a batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.newcomer.session import Step, play, python

STEPS = [
    Step("import sdcli"),
    Step("sdcli", ["<module 'sdcli'"], wide=True),
    Step("dir(sdcli)", ["GenerationRequest", "batch", "generate", "schedulers"], wide=True),
    Step("sdcli.schedulers('karras sde')[0].name", ["'DPM++ 2M SDE'"]),
    Step(
        "sdcli.generate('a cat', stpes=2)",
        ["generate() has no argument 'stpes'", "hint: did you mean steps?"],
        hides=["arguments.py"],
        wide=True,  # the paths of a traceback
    ),
    Step(
        "sdcli.generate('a cat', sampler_index=2)",
        ["no argument 'sampler_index'", "hint: use scheduler"],
        hides=["arguments.py"],
        wide=True,  # the paths of a traceback
    ),
    Step(
        "sdcli.generate('a cat', scheduler='euler', eta=1)",
        ["eta: Euler has no eta", "hint: use scheduler='DDIM', or leave eta out"],
        hides=["--"],
        wide=True,  # the paths of a traceback
    ),
    Step(
        "cat, dog = sdcli.generate(['a cat', 'a dog'], steps=2, guidance=3, "
        "negative='red', size='64x64', seed=7, progress=True)",
        ["2/2 images"],
    ),
    Step("cat", ["GenerationResult('a cat', seed=7, steps=2, scheduler='DPM++ 2M'"], wide=True),
    Step("cat.image.size, cat.image.mode", ["((64, 64), 'RGB')"]),
    Step("cat.save('cat.png')", ["PosixPath('cat.png')"]),
    Step("cat.save('cat.png')", ["cat.png exists", "add force=True"], hides=["--force"], wide=True),
    Step("again, = sdcli.generate(cat.request)"),
    Step("bool((again.pixels == cat.pixels).all())", ["True"]),
    Step("rows = [dict(prompt='a fish', steps=1), dict(prompt='a lemon', steps=0)]"),
    Step(
        "sdcli.batch(rows, size='64x64', seed=1)",
        ["prompts[1]: steps: 0 is not between 1 and 1000"],
        hides=["--steps"],
        wide=True,  # the paths of a traceback
    ),
    Step("rows[1]['steps'] = 2"),
    Step("sdcli.batch(rows, size='64x64', seed=1)", ["made=2, skipped=0, failed=0"], wide=True),
    Step("sdcli.batch(rows, size='64x64', seed=1)", ["made=0, skipped=2, failed=0"], wide=True),
    Step("shop = dict(prompt_column='title', name_template='{sku}-{seed}', out='shop')"),
    Step("rows = [dict(title='a fish', sku='P-17'), dict(title='a lemon', sku='P-18')]"),
    Step(
        "sdcli.batch(rows, steps=1, size='64x64', seed=1, **shop)",
        ["prompts[0]: unknown field 'sku'", "extra='keep'"],
        hides=["--extra"],
        wide=True,  # the paths of a traceback
    ),
    Step("shop['extra'] = 'keep'"),
    Step(
        "done = sdcli.batch(rows, steps=1, size='64x64', seed=1, "
        "on_result=lambda result: print(result.job.row.extra['sku']), **shop)",
        ["P-17", "P-18"],
    ),
    Step("[path.name for path in done.paths]", ["['P-17-1.png', 'P-18-1.png']"]),
    Step("len(sdcli.generate('a flurb', steps=1))", ["SdcliWarning", "flurb", "1"], wide=True),
]


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_python_at_its_prompt(tmp_path: Path) -> None:
    play(python(tmp_path), STEPS)
    names = sorted(path.name for path in tmp_path.glob("**/*.png"))
    assert names == [
        "0001-a-fish-1.png", "0002-a-lemon-1.png", "P-17-1.png", "P-18-1.png", "cat.png",
    ]  # fmt: skip
