"""The command that trains."""

import json

import pytest
import torch
from safetensors.torch import load_file

from homolog.cli.main import main

TINY = [
    "recipe=mini_dense",
    *(f"matcher.backbone.architecture.{setting}" for setting in (
        "width=16", "depth=2", "attention_heads=2",
        "encoder_image_size=64", "decoder_taps=[0,1]", "camera_attention_heads=2",
    )),
    "matcher.backbone.taps=[0,1]",
    *(f"matcher.head.decoder.{setting}" for setting in ("inputs=32", "channels=[8,8]", "scales=[2,1]", "width=8", "hidden=8")),
    "matcher.resize=64",
    "size=[64,64]",
    *(f"sources.{name}.{setting}" for name in ("synthetic", "keypoints") for setting in ("size=64", "count=4", "names=[bottle]")),
    "log_every=1",
    "checkpoint_every=1",
    *(f"stages.{name}.{setting}" for name in ("sparse", "synthetic") for setting in ("steps=2", "batch=1", "warmup=0")),
]  # fmt: skip


@pytest.fixture
def photo(tmp_path):
    from homolog.core.io import write_image

    write_image(tmp_path / "a.png", torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)))
    return tmp_path / "a.png"


@pytest.mark.slow
def test_a_recipe_is_trained_resumed_and_used(tmp_path, photo, capsys):
    words = tmp_path / "words.txt"
    words.write_text("# a small one\n" + "\n".join(TINY))
    out = tmp_path / "run"
    train = ["train", f"@{words}", "--out", str(out), "--device", "cpu"]
    assert main([*train, "--stages", "sparse"]) == 0
    record = json.loads((out / "training.json").read_text())
    assert record["config"]["settings"][-1] == "resize=64"
    assert {"command", "commit", "versions", "hardware"} <= set(record)
    assert not (out / "synthetic").exists()
    capsys.readouterr()
    assert main([*train, "--stages", "sparse"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*train, "--resume", "seed=3"]) == 2
    assert "seed was 0 and is 3" in capsys.readouterr().err
    before = load_file(out / "sparse/head.safetensors")
    assert main([*train, "--resume", "--stages", "sparse,synthetic"]) == 0
    told = capsys.readouterr()
    assert "sparse: " not in told.err  # it was finished
    assert "synthetic: 2 steps, " in told.err
    after = load_file(out / "synthetic/head.safetensors")
    assert any(not torch.equal(before[name], after[name]) for name in before)
    matched = [
        "match",
        str(photo),
        str(photo),
        f"@{out}/synthetic/overrides.txt",
        "--out",
        str(tmp_path / "m"),
    ]
    assert main([*matched, "--device", "cpu", "--cache", "off", "--verify", "none"]) == 0
    assert "untrained" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "x"], "expected a recipe, as recipe=NAME"),
        (["recipe=mini_dens", "--out", "x"], "did you mean mini_dense?"),
        (["recipe=mini_dense", "stages.spars.steps=3", "--out", "x"], "no setting stages.spars"),
        (["recipe=mini_dense", "matcher.heads.width=3", "--out", "x"], "no setting heads"),
        (["recipe=mini_dense"], "--out"),
        (["@nothing.txt", "--out", "x"], "@nothing.txt: expected a file of arguments"),
        (["recipe=mini_dense", "--workers", "-1", "--out", "x"], "workers"),
    ],
)
def test_wrong_words_are_told_before_anything_is_made(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())
