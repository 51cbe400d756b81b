"""What the tests of the heads share."""

import pytest
from hypothesis import settings
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# How long an example takes says more about the machine than about the code.
settings.register_profile("homolog", deadline=None)
settings.load_profile("homolog")


class LargestTensor(TorchDispatchMode):
    """Remembers how many elements the largest tensor had that any operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else [result]:
            if isinstance(each, Tensor):
                self.elements = max(self.elements, each.numel())
        return result


@pytest.fixture
def largest() -> LargestTensor:
    """Used as a context: what happens inside is watched."""
    return LargestTensor()
