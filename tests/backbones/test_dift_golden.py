"""DIFT reproduces the official featurizer on a tiny model, loaded through the real path."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from homolog.backbones.dift import Dift, Noise


@pytest.fixture(scope="module")
def golden(goldens: Path) -> dict[str, Any]:
    return json.loads((goldens / "dift_tiny.json").read_text())


@pytest.fixture(scope="module")
def tensors(goldens: Path) -> dict[str, Tensor]:
    return load_file(goldens / "dift_tiny.safetensors")


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, golden: dict[str, Any], tensors: dict[str, Tensor]
) -> Path:
    folder = tmp_path_factory.mktemp("dift_golden")
    for part in ("unet", "vae"):
        state = {key.removeprefix(f"{part}."): t for key, t in tensors.items() if key.startswith(f"{part}.")}
        (folder / part).mkdir()
        (folder / part / "config.json").write_text(json.dumps(golden[f"{part}_config"]))
        save_file(state, folder / part / "diffusion_pytorch_model.safetensors")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(golden["scheduler_config"]))
    (folder / "prompt").mkdir()
    save_file({"embedding": tensors["context"]}, folder / "prompt" / "null.safetensors")
    return folder


def _noise(tensors: dict[str, Tensor], size: str, members: int) -> Noise:
    posterior, diffusion = (tensors[f"{size}.{kind}_noise"] for kind in ("vae", "diffusion"))
    assert members <= len(posterior) == len(diffusion)
    return Noise(posterior=posterior[None, :members], diffusion=diffusion[None, :members])


def _image(tensors: dict[str, Tensor], size: str) -> Tensor:
    return (tensors[f"{size}.image"][None] + 1) / 2


def _close(actual: Tensor, expected: Tensor, golden: dict[str, Any]) -> None:
    tolerance = golden["tolerance"]
    torch.testing.assert_close(actual, expected, atol=tolerance["atol"], rtol=tolerance["rtol"])


def test_golden_dift_reproduces_every_case_alone(
    folder: Path, golden: dict[str, Any], tensors: dict[str, Tensor]
) -> None:
    assert golden["cases"]
    for case in golden["cases"]:
        maps = {"map": {"block": case["up_ft_index"], "timestep": case["t"]}}
        dift = Dift(folder, maps)
        size = f"s{case['size_index']}"
        found = dift.extract(_image(tensors, size), _noise(tensors, size, case["ensemble"]))
        _close(found["dift.map"], tensors[case["key"]], golden)


def test_golden_dift_reproduces_all_cases_of_a_size_in_one_call(
    folder: Path, golden: dict[str, Any], tensors: dict[str, Tensor]
) -> None:
    for index, members in {(case["size_index"], case["ensemble"]) for case in golden["cases"]}:
        cases = [
            case for case in golden["cases"] if (case["size_index"], case["ensemble"]) == (index, members)
        ]
        maps = {
            case["key"].replace(".", "_"): {"block": case["up_ft_index"], "timestep": case["t"]}
            for case in cases
        }
        dift = Dift(folder, maps)
        found = dift.extract(_image(tensors, f"s{index}"), _noise(tensors, f"s{index}", members))
        for case in cases:
            _close(found["dift." + case["key"].replace(".", "_")], tensors[case["key"]], golden)


def test_golden_posterior_has_the_official_mean_and_deviation(
    folder: Path, golden: dict[str, Any], tensors: dict[str, Tensor]
) -> None:
    dift = Dift(folder, {"map": {"block": 0, "timestep": 0}})
    for size in {f"s{case['size_index']}" for case in golden["cases"]}:
        posterior = dift.network.encode(_image(tensors, size))
        _close(posterior.mean, tensors[f"{size}.latent_mean"], golden)
        _close(posterior.std, tensors[f"{size}.latent_std"], golden)
