"""Checkpoints without pickles."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from homolog.core.errors import WeightsError
from homolog.training.checkpoints import SafetensorsCheckpointIO


def test_a_checkpoint_round_trips(tmp_path):
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    given: dict[str, Any] = {
        "state_dict": net.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "rng": {"torch": torch.get_rng_state(), "python": (3, (1, 2), None)},
        "loops": {"fit": {"step": 3, "best": float("inf"), "done": False, "name": "a"}},
        "odd": {1: "one", None: 2.5, "$tensor": "text", (1, 2): []},
        "path": Path("a/b"),
        "a/b": torch.zeros(1),
        "a": {"b": torch.ones(1)},
        "bf16": torch.ones(2, 2, dtype=torch.bfloat16).T,
    }
    path = tmp_path / "run/last.safetensors"
    SafetensorsCheckpointIO().save_checkpoint(given, path)
    back = SafetensorsCheckpointIO().load_checkpoint(path)
    assert list(back) == list(given)
    assert back["loops"] == given["loops"]
    assert back["odd"] == given["odd"]
    assert back["path"] == given["path"]
    assert back["rng"]["python"] == (3, (1, 2), None)
    assert torch.equal(back["rng"]["torch"], given["rng"]["torch"])
    assert back["a/b"].item() == 0
    assert back["a"]["b"].item() == 1
    assert back["bf16"].dtype == torch.bfloat16
    for name in ("exp_avg", "exp_avg_sq", "step"):
        assert torch.equal(
            back["optimizer_states"][0]["state"][0][name], optimizer.state_dict()["state"][0][name]
        )
    torch.optim.AdamW(net.parameters()).load_state_dict(back["optimizer_states"][0])
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert len(load_file(path)) > 10  # any reader of safetensors reads the tensors


def test_tied_and_partial_tensors_round_trip(tmp_path):
    base = torch.arange(6.0)
    given = {"one": base, "same": base, "part": base[2:4], "turned": base.view(2, 3).T}
    SafetensorsCheckpointIO().save_checkpoint(given, tmp_path / "x.safetensors")
    back = SafetensorsCheckpointIO().load_checkpoint(tmp_path / "x.safetensors")
    assert all(torch.equal(back[name], value) for name, value in given.items())


def test_a_value_that_needs_a_pickle_is_rejected_and_the_old_file_stays(tmp_path):
    path = tmp_path / "x.safetensors"
    SafetensorsCheckpointIO().save_checkpoint({"step": 1}, path)
    with pytest.raises(TypeError, match="object at /deep/0"):
        SafetensorsCheckpointIO().save_checkpoint({"deep": [object()]}, path)
    assert SafetensorsCheckpointIO().load_checkpoint(path) == {"step": 1}


def test_missing_foreign_and_damaged_files_are_named(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(WeightsError, match="there is none"):
        SafetensorsCheckpointIO().load_checkpoint(path)
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match="expected a checkpoint of homolog train"):
        SafetensorsCheckpointIO().load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(WeightsError, match="damaged"):
        SafetensorsCheckpointIO().load_checkpoint(path)
    SafetensorsCheckpointIO().remove_checkpoint(path)
    assert not path.exists()
