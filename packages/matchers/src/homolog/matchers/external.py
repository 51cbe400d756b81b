"""Anybody's Python function as a matcher."""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from homolog.core.errors import ConfigError, DataError, HomologError
from homolog.core.image import Image
from homolog.core.io import as_image
from homolog.core.protocols import ImageLike
from homolog.matchers.answered import AnsweredCorrespondence, Answers


class ExternalMatcher:
    """Wraps a function that matches two images, and if there is one, a function that transfers points.

    ```python
    def match(image0, image1):  # uint8 [H W 3], RGB
        return xy0, xy1  # [M 2] each, or xy0, xy1, score with score [M], higher is better

    def transfer(image0, image1, xy0):  # float64 [N 2]
        return xy1  # [N 2], or a tuple (xy1, confidence) with confidence [N] in [0, 1]
    ```

    Coordinates are (x, y) in pixels of the images handed over, integers at pixel centres. Arrays,
    tensors and lists are taken. Answers are checked: their shapes, that they are finite, and that
    matches lie on the images.
    """

    def __init__(
        self, function: Callable[..., Any] | str, transfer: Callable[..., Any] | str | None = None
    ) -> None:
        """Find the functions; a text is imported now.

        Args:
            function: as `match` above; or `package.module:name`, or `path/to/file.py:name`. Whatever it
                names is run, so name only what you trust.
            transfer: as `transfer` above, or where it is; None for a method that finds matches only.

        Raises:
            ConfigError: a text that names nothing that can be called.
        """
        self.function = load_function(function)
        self.transfer = None if transfer is None else load_function(transfer)
        self.name = function if isinstance(function, str) else _named(function)

    def match(self, image0: ImageLike, image1: ImageLike) -> AnsweredCorrespondence:
        """Match two images; each may be a path, a PIL image, an array or an `Image`.

        Returns:
            The correspondence, which calls the functions when it is asked.

        Raises:
            DataError: an image that cannot be read; the message names it.
        """
        given = as_image(image0), as_image(image1)
        arrays = [_array(image) for image in given]
        transfer = self.transfer
        answers = Answers(
            name=self.name,
            match=lambda: _called(self.name, self.function, *arrays),
            transfer=None if transfer is None else lambda xy0: _called(self.name, transfer, *arrays, xy0),
        )
        return AnsweredCorrespondence(*given, answers)


def load_function(source: Callable[..., Any] | str) -> Callable[..., Any]:
    """Return a function, imported if it is given as text.

    Args:
        source: the function, `package.module:name`, or `path/to/file.py:name`.

    Raises:
        ConfigError: no such module, file or name, an error while importing it, or nothing to call.
    """
    if not isinstance(source, str):
        return source
    where, _, name = source.rpartition(":")
    if not where or not name:
        raise ConfigError(
            f"expected a function as package.module:name or path/to/file.py:name, got {source!r}"
        )
    found: Any = _module(where)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{source}: expected {name} in {where}, but there is no {part}; check the name")
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"{source}: expected something to call, got {type(found).__name__}")
    return found


def _module(where: str) -> ModuleType:
    try:
        return _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except HomologError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (where == error.name or where.startswith(f"{error.name}.")):
            raise ConfigError(
                f"{where}: expected a module that can be imported, but there is no {error.name}; install it, set "
                "PYTHONPATH, or name its file as path/to/file.py:name"
            ) from error
        raise ConfigError(f"{where}: cannot be imported, it needs {error.name}; install that") from error
    except Exception as error:  # whatever their code does when it is imported
        raise ConfigError(f"{where}: cannot be imported ({type(error).__name__}: {error})") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{path}: expected a Python file, but there is none; check the path")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: expected a Python file, got one that cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _called(name: str, function: Callable[..., Any], *arguments: np.ndarray) -> Any:
    try:
        # Copies, so that a function that draws on its arguments does not change the next call's.
        return function(*(argument.copy() for argument in arguments))
    except HomologError:
        raise
    except Exception as error:  # their code fails in its own ways; the cause keeps the traceback
        raise DataError(f"{name}: failed on these images ({type(error).__name__}: {error})") from error


def _array(image: Image) -> UInt8[np.ndarray, "H W 3"]:
    pixels = image.pixels.detach().cpu().clamp(0, 1) * 255 + 0.5
    return np.ascontiguousarray(pixels.to(torch.uint8).permute(1, 2, 0).numpy())


def _named(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))
