"""Choose a device, and a precision for autocast. Nothing here is global."""

from contextlib import AbstractContextManager, nullcontext

import torch

from homolog.core.errors import ConfigError


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name.

    Args:
        name: `auto` uses CUDA if present, then Apple's MPS, then the CPU; or any name that
            torch accepts (`cpu`, `cuda`, `cuda:1`, `mps`).

    Raises:
        ConfigError: an unknown name, or a device that the machine does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"no device named {name}; choose from auto, cpu, cuda, cuda:0, mps") from None
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= counts.get(device.type, 0):
        raise ConfigError(f"this machine has no device {name}; use device auto or cpu")
    return device


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Return an autocast context of `dtype`; None changes nothing."""
    if dtype is None or dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
