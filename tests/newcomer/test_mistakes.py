"""Typical mistakes of people who know other tools, and the answer that each must get."""

from __future__ import annotations

import pytest

from sdcli.catalog.synonyms import SYNONYMS, find_command, find_option, option_key
from sdcli.cli import COMMANDS, app
from sdcli.commands.options.usage_hints import _any_option
from tests.terminals import run_sdcli
from tests.test_startup import HELP_FREE, probe

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"

OPTIONS = [
    # What is typed after `generate "a cat"`, and a part of the hint.
    ("--cfg-scale 7", "sdcli calls it --guidance"),
    ("--cfg_scale 7", "sdcli calls it --guidance"),
    ("--cfg-scale=7", "sdcli calls it --guidance"),
    ("-C 7", "sdcli calls it --guidance"),
    ("-cfg 7", "sdcli calls it --guidance"),
    ("--guidance_scale 7", "sdcli calls it --guidance"),
    ("--num-inference-steps 20", "sdcli calls it --steps"),
    ("--num_inference_steps 20", "sdcli calls it --steps"),
    ("--sampler euler", "sdcli calls it --scheduler"),
    ("--sampling-method euler_a", "sdcli calls it --scheduler"),
    ("--sampler_index 3", "give the sampler's name"),
    ("--width 512 --height 768", "--size 512x768"),
    ("--H 768 --W 512", "--size 512x768"),
    ("-W 512", "--size 512x512"),
    ("-H=768 -W=512", "--size 512x768"),
    ("--height", "e.g. --size 512x768"),
    ("--prompt dog", 'sdcli generate "a cat"'),
    ("-p dog", 'sdcli generate "a cat"'),
    ("--negative-prompt red", "sdcli calls it --negative"),
    ("--negative_prompt red", "sdcli calls it --negative"),
    ("--neg red", "sdcli calls it --negative"),
    ("--n_iter 4", "sdcli calls it --count"),
    ("--batch_count 4", "sdcli calls it --count"),
    ("--num_images_per_prompt 4", "sdcli calls it --count"),
    ("-b 4", "sdcli calls it --count"),
    ("-S 4", "sdcli calls it --seed"),
    ("--ckpt x.safetensors", "sdcli calls it --model"),
    ("--pretrained_model_name_or_path x", "sdcli calls it --model"),
    ("--vae-path x", "sdcli calls it --vae"),
    ("--output x.png", "sdcli calls it --out"),
    ("--outdir x", "sdcli calls it --out"),
    ("--gpu 1", "--device cuda:1"),
    ("--fp16", "--dtype float16"),
    ("--no-half", "--dtype float32"),
    ("--no-half-vae", "decoded again in float32"),
    ("--medvram", "sdcli calls it --offload"),
    ("--clip_skip 2", "A1111's Clip skip 2 is --clip-skip 1"),
    ("--lora-scales 0.5", "--lora style.safetensors:0.8"),
    ("--init-image x.png", "sdcli calls it --image"),
    ("--denoising-strength 0.5", "sdcli calls it --strength"),
    ("--mask-image x.png", "sdcli calls it --mask"),
    ("--cn canny", "sdcli calls it --controlnet"),
    ("--upscale 2", "upscaling alone is not supported"),
    ("--tiling", "seamless tiling is not supported"),
    ("--from-file x.txt", "sdcli batch prompts.txt"),
    ("-steps 20", "it begins with two hyphens: --steps"),
    ("—steps 20", "it begins with two hyphens: --steps"),
    ("-out x", "it begins with two hyphens: --out"),
    ("--stpes 20", "did you mean --steps?"),
    ("--cfgscale 7", "sdcli calls it --guidance"),
    ("--NumInferenceSteps 20", "sdcli calls it --steps"),
    ("--negativeprompt red", "sdcli calls it --negative"),
    ("--fps 3", "sdcli {command} --help"),
    ("--qqqq 20", "sdcli {command} --help"),
    ("-n", "sdcli {command} --help"),
]

COMMAND_LINES = [
    (["txt2img", "a cat"], "sdcli calls it generate"),
    (["t2i", "a cat"], "sdcli calls it generate"),
    (["run", "a cat"], "sdcli calls it generate"),
    (["img2img", "a.png"], "--image FILE"),
    (["samplers"], "sdcli calls it schedulers list"),
    (["checkpoints"], "sdcli calls it models list"),
    (["download", "a/b"], "sdcli calls it models pull"),
    (["serve"], "there is no server"),
    (["pnginfo", "a.png"], "sdcli calls it inspect"),
    (["generat", "a cat"], "did you mean sdcli generate?"),
    (["version"], "hint: sdcli --version prints the version"),
    (["trace", "a cat"], "--trace is an option of sdcli generate; see sdcli generate --help"),
    (["preview"], "--preview is an option of sdcli generate and sdcli batch; see"),
    (["tokens", "a cat", "--clip-skip", "1"], "sdcli tokens does not have it; see sdcli tokens"),
    (["“a", "cat”"], "sdcli generate 'a cat'"),
    (["a cat"], "sdcli generate 'a cat'"),
    (["a", "cat"], "sdcli generate 'a cat'"),
    (["prompts.txt"], "sdcli batch prompts.txt"),
    (["cat.png"], "sdcli inspect cat.png"),
    (["--steps", "3", "generate", "a cat"], "options follow the command"),
    (["--prompt", "a cat"], 'sdcli generate "a cat"'),
    (["--cfg-scale", "3"], "--guidance"),
    (["generate"], "- to read prompts from stdin"),
    (["batch"], "sdcli batch prompts.txt"),
    (["latents", "gird"], "did you mean sdcli latents grid?"),
    (["latents", "grid"], "sdcli latents grid --help"),
    (["latents", "grid", "a.png", "--cfg-scale", "3"], "sdcli latents grid does not have"),
    (["vae", "show", "tiny", "--fp16"], "see sdcli vae show --help"),
    (["schedulers", "compare", "x", "--sampler", "ddim"], "sdcli calls it --schedulers"),
    (["schedulers", "compare", "x", "--scheduler", "ddim"], "did you mean --schedulers?"),
    (["schedulers", "compare", "x", "--psnr", "30"], "sdcli schedulers compare --help"),
    (["vae", "compare", "x", "--vae", "own"], "did you mean --vaes?"),
    (["generate", "x", "--extra", "keep"], "--extra is an option of sdcli batch, not"),
    (["generate", "x", "--dry-run"], "--dry-run is an option of sdcli batch, not"),
    (["generate", "x", "--limit", "2"], "--limit is an option of sdcli batch, not"),
    (["inspect", "x", "--steps", "2"], "--steps is an option of sdcli generate and sdcli batch"),
    (
        ["latents", "diff", "x", "--columns", "2"],
        "option of sdcli latents grid and sdcli latents noise",
    ),
    (["latents", "grid", "x", "--column", "2"], "did you mean --columns?"),
    (["help", "--search"], "sdcli help --help"),
    (["pick", "outputs"], "--by KEY: prompt_match, sharpness, saturation"),
    (["merge", "part-1"], "--out DIR: Folder for all of the images; see sdcli merge --help"),
    (["generate", "x", "-q", "-v"], "sdcli generate --help"),
]

MODELS = [
    ("sd15", f"did you mean -m {SD15}?"),
    ("SD1.5", f"did you mean -m {SD15}?"),
    ("stable-diffusion-v1-5", f"did you mean -m {SD15}?"),
    ("v1-5-pruned-emaonly.safetensors", f"did you mean -m {SD15}?"),
    ("sdxl", "did you mean -m stabilityai/stable-diffusion-xl-base-1.0?"),
    ("sdxl-refiner", "did you mean --refiner stabilityai/stable-diffusion-xl-refiner-1.0?"),
    ("flux.1-dev", "only Stable Diffusion 1, 2 and XL"),
    ("https://civitai.com/models/1", "download the model first"),
    (
        "https://huggingface.co/a/b/blob/main/c.safetensors",
        "sdcli models pull a/b --file c.safetensors",
    ),
    ("https://huggingface.co/nobody/nothing", "sdcli models pull nobody/nothing"),
    ("https://huggingface.co/nobody/nothing/tree/main", "sdcli models pull nobody/nothing"),
    ("hf.co/nobody/nothing", "sdcli models pull nobody/nothing"),
    ("C:\\models\\sd", "no model at 'C:\\models\\sd'"),
]

FILES = [
    ("a.xlsx", "PK", "export the sheet as CSV"),
    ("a.ods", "PK", "export the sheet as CSV"),
    ("a.docx", "PK", "save it as plain text"),
    ("a.png", "PNG", "not a readable image"),
    ("a.zip", "PK", "unpack it"),
    ("a.csv", "// list\nprompt,steps\na,2\n", "a comment line begins with #"),
    ("a.csv", "prompt,cfg scale x\na,2\n", "did you mean cfg_scale?"),
    ("a.csv", "prompt,colour\na,2\n", "is no setting, use --extra keep or --extra ignore"),
    ("a.csv", "prompt,stpes\na,2\n", "did you mean steps? for a column that is no setting, use"),
    ("a.csv", "prompt,cfgscale x\na,2\n", "did you mean cfg_scale?"),
    ("a.csv", "prompt,steps,,\na,2,x,\n", "3 cells, but only 2 named columns"),
    ("a.csv", "prompt,batch_count\na,2\n", "sdcli calls it count"),
    ("a.csv", "prompt,lora\na,2\n", "--lora-dir DIR looks names up in a folder"),
    ("a.txt", "a cat --gpu 1\n", "sdcli calls it device"),
    ("a.txt", "a cat --subseed 1\n", "variation seeds are not supported"),
    ("a.json", "[{'prompt': 'a'}]", "write names and text in double quotes"),
    ("a.json", '[{prompt: "a"}]', "write names and text in double quotes"),
    ("a.json", '[{"prompt": "a",}]', "remove the comma before the closing bracket"),
    ("a.json", '["a",]', "remove the comma before the closing bracket"),
    ("a.json", '["a"\n"b"]', "a comma is missing"),
    ("a.json", '["a" // b\n]', "JSON has no comments"),
    ("a.json", '[{"prompt": "a "big" cat"}]', 'escape quotes in text as \\"'),
    ("a.json", '[{"prompt": "a", "model": "C:\\me"}]', "write a backslash as \\\\"),
    ("a.json", '["a\nb"]', "write a line break in text as \\n"),
    ("a.json", '[{"prompt": "a", "offline": True}]', "true, false and null in lower case"),
    ("a.json", "[“a”]", "use straight double quotes"),
    ("a.json", '{"prompt": "a"}\n{"prompt": "b"}', "--input-format jsonl"),
    ("a.jsonl", '[\n{"prompt": "a"}\n]', "--input-format json"),
    ("a.jsonl", "{'prompt': 'a'}", "write names and text in double quotes"),
    ("a.yaml", "- prompt: a cat: big", 'put text that contains ": " in quotes'),
    ("a.yaml", "- prompt:a cat", "write a space after the colon"),
    ("a.yaml", "- prompt: [best] cat", "in quotes"),
    ("a.yaml", "- prompt: {red|blue} cat", "in quotes"),
    ("a.yaml", "- prompt: [best]", "put it in quotes"),
    ("a.yaml", "- prompt: *cat", "put text that begins with * in quotes"),
    ("a.yaml", "- prompt: !cat", "put text that begins with ! in quotes"),
    ("a.yaml", "- prompt: 'it's'", "in quotes"),
    ("a.yaml", '- prompt: "a', "close the quote"),
    ("a.yaml", "- prompt: a\n\tsteps: 3", "indent with spaces"),
    ("a.yaml", "- prompt: 42", "put it in quotes"),
    ("a.toml", "prompt = a cat", "put text in quotes"),
    ("a.toml", 'prompt: "a cat"', "write = between a name and its value"),
    ("a.toml", 'prompt = "a "big" cat"', "in single quotes"),
    ("a.toml", 'prompt = "a"\nmodel = "C:\\me"', "write a backslash as \\\\"),
    ("a.toml", "prompt = 'a\n", "close the quote"),
]

ODDITIES = [
    # Files that are drawn, and a part of the one warning.
    ("a.csv", "prompt;steps\na cat;2\n", "a.csv: its columns are separated by semicolons"),
    ("a.csv", '"prompt";"steps"\n"a cat";2\n', "separated by semicolons"),
    ("a.csv", "sep=;\r\nprompt;steps\r\na cat;2\r\n", "separated by semicolons"),
    ("a.csv", "prompt\tsteps\na cat\t2\n", "separated by tabs"),
    ("a.tsv", "prompt,steps\na cat,2\n", "separated by commas"),
    ("a.csv", "prompt;guidance\na cat;7,5\n", "7,5 is two values; write 7.5 for one"),
    ("a.txt", "// a cat\na dog\n", "only # begins a comment"),
    ("a.txt", "; a cat\na dog\n", "only # begins a comment"),
    ("a.txt", "a cat --n 7\n", "the negative prompt is '7', a number"),
    ("a.json", '[""]', "a prompt is empty"),
    ("a.yaml", "- prompt: a cat #1 fan", "#1 is a comment"),
    ("a.txt", "a <hypernet:cat:1> cat\n", "'<hypernet:cat:1>' loads nothing"),
    ("a.txt", "a (cat)1.3\n", "InvokeAI's way to write a weight"),
    ("a.txt", "a (red cat)++\n", "InvokeAI's way to write a weight"),
    ("a.txt", "a cat++\n", "InvokeAI's way to write a weight"),
    ("a.txt", "a (cat:1.3) [dog] BREAK red\n", None),
    ("a.txt", "a {red|blue} cat\n", "--wildcard-mode random fills it"),
    ("a.txt", "a cat --seed 1..3 --s 1\n", None),
    ("a.jsonl", '{"prompt": "a cat", "seed": [1, 2, 3], "count": 3}\n', "images are drawn twice"),
    ("a.jsonl", '{"prompt": "a cat", "seed": [1, 4, 7], "count": 3}\n', None),
    ("a.txt", "A CAT AND A DOG, 16:9 (16:9) (SMALL)\n", "AND combines two prompts"),
    ("a.csv", "sep=,\nprompt,steps\na cat,2\n", None),
    ("a.csv", "prompt,steps,,\na cat,2,,\na dog,3\n", None),
]


def assert_answer(ran, words, code=2):
    assert ran.code == code
    assert words in ran.stderr
    assert ran.stderr.startswith("sdcli: error: ")
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.splitlines()) <= 2


@pytest.mark.parametrize(("typed", "words"), OPTIONS, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("command", ["generate", "batch"])
def test_an_option_of_another_tool_is_answered(run_cli, command, typed, words):
    ran = run_cli(command, "a cat", *typed.split())
    assert_answer(ran, words.replace("{command}", command))
    assert "--guidance-" not in ran.stderr


@pytest.mark.parametrize(("argv", "words"), COMMAND_LINES, ids=lambda value: str(value)[:30])
def test_a_wrong_command_line_is_answered(run_cli, argv, words):
    assert_answer(run_cli(*argv), words)


@pytest.mark.parametrize(("name", "words"), MODELS)
def test_a_name_of_a_model_is_understood_or_answered(run_cli, name, words):
    assert_answer(run_cli("generate", "a cat", "--offline", "-m", name), words, code=3)


@pytest.mark.parametrize(("name", "text", "words"), FILES, ids=lambda value: str(value)[:30])
def test_a_slip_in_a_file_is_answered(run_cli, tmp_path, name, text, words):
    (tmp_path / name).write_text(text, "utf-8")
    ran = run_cli("batch", name)
    assert ran.code == 2
    assert words in ran.stderr
    assert ran.stderr.startswith(f"sdcli: error: {name}")


@pytest.mark.parametrize(("name", "text", "words"), ODDITIES, ids=lambda value: str(value)[:30])
def test_an_odd_file_is_drawn_with_one_warning(run_cli, tmp_path, name, text, words):
    (tmp_path / name).write_text(text, "utf-8")
    ran = run_cli("batch", name, "--dry-run")
    assert ran.code == 0
    warnings = [line for line in ran.stderr.splitlines() if "know these" not in line]
    warnings = [line for line in warnings if "few dozen things" not in line]
    assert len([line for line in warnings if words and words in line]) == (words is not None)
    if words is None:
        assert warnings == []
    assert "warning" not in run_cli("batch", name, "--dry-run", "-q").stderr


@pytest.mark.parametrize("command", ["generate", "batch"])
@pytest.mark.parametrize("text", ["", "\n\n", "# a comment\n"])
def test_stdin_without_a_prompt_is_an_error(run_cli, command, text):
    ran = run_cli(command, "-", stdin=text)
    assert ran.code == 2
    assert "sdcli: error: no prompt in stdin\nsdcli: hint: " in ran.stderr


def test_words_without_quotes_are_drawn_with_one_warning(run_cli):
    ran = run_cli("generate", "a", "cat", "--steps", "1")
    assert ran.code == 0
    assert len(ran.paths) == 2
    assert "did you forget quotes? sdcli generate 'a cat'" in ran.stderr
    assert run_cli("generate", "a cat", "fish", "--steps", "1").stderr == ""


@pytest.mark.parametrize(
    "words", [["“a", "red", "cat”"], ["“a", "red cat”"], ["«a", "red", "cat»"]]
)
def test_typographic_quotes_are_replaced_in_the_hint(run_cli, words):
    ran = run_cli("generate", *words, "--steps", "1", "--size", "64x64")
    assert "a shell needs straight ones: sdcli generate 'a red cat'\n" in ran.stderr
    assert "forget quotes" not in ran.stderr


def test_typographic_quotes_within_a_prompt_are_drawn(run_cli):
    prompt = "a sign that says “cat”"
    ran = run_cli("generate", prompt, "--steps", "1", "--size", "64x64")
    assert "typographic" not in ran.stderr


def test_the_name_of_a_file_as_a_prompt_is_drawn_with_a_warning(run_cli, tmp_path):
    (tmp_path / "cats.txt").write_text("a cat\n")
    assert "sdcli batch cats.txt" in run_cli("generate", "cats.txt", "--steps", "1").stderr


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("SDCLI_STEP", "SDCLI_STEPS"),
        ("SDCLI_STPES", "SDCLI_STEPS"),
        ("SDCLI_CFG_SCALE", "sdcli calls it SDCLI_GUIDANCE"),
        ("SDCLI_PROFIL", "SDCLI_PROFILE"),
        ("SDCLI_GPU", "SDCLI_DEVICE"),
    ],
)
def test_a_variable_is_answered_with_a_variable(run_cli, monkeypatch, variable, hint):
    monkeypatch.setenv(variable, "3")
    assert_answer(run_cli("generate", "a cat"), hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("cfg_scale = 3", "sdcli calls it guidance"),
        ("sampler = 'x'", "sdcli calls it scheduler"),
        ("[txt2img]\nsteps = 3", "sdcli calls it generate"),
        ("[generate]\nloras = 'x'", "sdcli calls it lora"),
    ],
)
def test_a_key_of_the_configuration_is_answered(run_cli, tmp_path, text, hint):
    (tmp_path / "sdcli.toml").write_text(text)
    assert_answer(run_cli("generate", "a cat"), hint)


def test_verbose_tells_the_setup_and_the_seconds(run_cli):
    ran = run_cli("generate", "a cat", "a dog", "--steps", "10", "-s", "ddim", "-v")
    setup, first, second = ran.stderr.splitlines()
    assert "model embedded, device cpu, dtype float32, scheduler DDIM" in setup
    assert "10 steps" in setup
    assert all(f" {phase} " in first for phase in ("load", "encode", "denoise", "decode", "save"))
    assert " load " not in second


def test_every_row_names_what_exists() -> None:
    for row in SYNONYMS:
        assert row.ours or row.note, row
        found = find_option(row.word) if row.is_option else find_command(row.word)
        assert found == row, f"{row.word} is in two rows"
        ours = row.ours or ""
        if ours.startswith("--"):
            assert _any_option(ours), row
        elif ours:
            assert ours.split()[0] in COMMANDS, row
    assert len({option_key(row.word) for row in SYNONYMS}) >= 60


def test_a_lora_is_an_option_of_generate() -> None:
    found = find_command("lora")
    assert found
    assert (found.ours, found.note) == ("generate", "add --lora FILE")


def test_no_row_hides_an_option_or_a_command() -> None:
    assert not [row.word for row in SYNONYMS if row.word in COMMANDS]
    assert not [row.word for row in SYNONYMS if row.is_option and row.ours != "--clip-skip"
                and _any_option(row.word)]  # fmt: skip
    assert app is not None


def test_the_table_is_only_imported_after_an_error() -> None:
    for argv in (["--help"], ["generate", "--help"], ["schedulers", "list"]):
        assert "sdcli.catalog.synonyms" not in probe(*argv)[1]
    code, modules = probe("generate", "a cat", "--cfg-scale", "3")
    assert code == 2
    assert not HELP_FREE & modules


def test_prompts_are_read_from_a_terminal_with_a_word_about_its_end(tmp_path):
    code, shown = run_sdcli("generate", "-", "--steps", "1", cwd=tmp_path, keys="a cat\n\x04")
    assert code == 0
    assert "one per line; end with Ctrl-D" in shown
    assert ".png" in shown


def test_a_terminal_shows_the_error_and_the_hint_alone(tmp_path):
    code, shown = run_sdcli("generate", "a cat", "--cfg-scale", "3", cwd=tmp_path)
    assert code == 2
    assert shown.splitlines() == [
        "sdcli: error: no such option: --cfg-scale",
        "sdcli: hint: sdcli calls it --guidance",
    ]


def test_a_file_with_control_characters_reaches_no_terminal(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"- prompt: '\x1b]0;owned\x07 a: b")
    code, shown = run_sdcli("batch", "a.yaml", cwd=tmp_path)
    assert code == 2
    assert "\x1b" not in shown
