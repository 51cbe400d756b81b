"""The choice of device and precision, as arguments; nothing here is global."""

from contextlib import AbstractContextManager, nullcontext

import torch

from homolog.core.errors import ConfigError


def choose_device(name: str = "auto") -> torch.device:
    """Turn a user's word into a device that is there.

    Args:
        name: `auto` takes CUDA if present, then Apple's MPS, then the CPU; or any name that
            torch knows (`cpu`, `cuda`, `cuda:1`, `mps`).

    Raises:
        ConfigError: torch does not know the name, or the machine lacks the device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"no device named {name}; choose from auto, cpu, cuda, cuda:0, mps") from None
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= there.get(device.type, 0):
        raise ConfigError(f"this machine has no device {name}; use device auto or cpu")
    return device


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Return a context that computes in `dtype` where torch deems it safe; None computes as is."""
    if dtype is None or dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
