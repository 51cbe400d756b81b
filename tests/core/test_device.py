"""The choice of device and precision."""

import pytest
import torch

from homolog.core.device import autocast, choose_device
from homolog.core.errors import ConfigError


def test_auto_uses_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device() == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")


def test_a_device_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="this machine has no device cuda:2; use device auto or cpu"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "cpu,0"])
def test_an_unknown_device_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no device named {name}; choose from auto, cpu, cuda"):
        choose_device(name)


@pytest.mark.parametrize("name", ["meta", "cpu:1", "xpu"])
def test_a_device_that_the_machine_does_not_have_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=f"this machine has no device {name}"):
        choose_device(name)


def test_autocast_computes_in_the_given_dtype() -> None:
    a = torch.rand(4, 4)
    with autocast(torch.device("cpu"), torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
    for dtype in (None, torch.float32):
        with autocast(torch.device("cpu"), dtype):
            assert (a @ a).dtype == torch.float32


@pytest.mark.gpu
def test_cuda_is_chosen_if_present() -> None:
    assert choose_device("auto").type == "cuda"
