"""Matchers from outside homolog: any Python function, and the matchers of the package vismatch."""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from homolog.core.coords import inside
from homolog.core.dense import Transfer
from homolog.core.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    HomologError,
    MissingDependencyError,
    did_you_mean,
)
from homolog.core.image import Image
from homolog.core.io import as_image, as_points
from homolog.core.keypoints import Matches
from homolog.core.protocols import ImageLike, Points


class ExternalCorrespondence:
    """A correspondence computed by external functions: called when needed, for matches only once.

    Attributes:
        keypoints0: None; external matchers return matches only.
        keypoints1: None.
    """

    keypoints0 = None
    keypoints1 = None

    def __init__(
        self,
        image0: Image,
        image1: Image,
        *,
        name: str,
        match: Callable[[], Any],
        transfer: Callable[[np.ndarray], Any] | None = None,
    ) -> None:
        """Store the functions.

        Args:
            image0: as given.
            image1: as given.
            name: of the matcher, for messages.
            match: returns (xy0, xy1) or (xy0, xy1, score) in pixels of the two images.
            transfer: takes [N 2] pixels of image 0; returns [N 2] pixels of image 1, or a tuple of them and
                confidence [N]. None for a method that finds matches only.
        """
        self._image0, self._image1, self._name = image0, image1, name
        self._match, self._transfer = match, transfer
        self._matches: Matches | None = None

    @property
    def can_transfer(self) -> bool:
        """Whether `transfer` works."""
        return self._transfer is not None

    def matches(self, limit: int | None = None) -> Matches:
        """Return the best matches, best first, in pixels of the original files (float32, on the CPU).

        Raises:
            DataError: the function returned something else than matches between these images.
        """
        if self._matches is None:
            found = _checked_matches(self._match(), self._image0, self._image1, self._name)
            self._matches = found.moved(self._image0.xy_to_original, self._image1.xy_to_original)
        return self._matches.best(limit)

    def transfer(self, xy0: Points) -> Transfer:
        """Find points of image 0 in image 1, in pixels of the original files (float32, on the CPU).

        Args:
            xy0: [N 2]. A point outside image 0 is moved to the nearest point on it, and its confidence is 0.

        Raises:
            CapabilityError: the matcher finds matches only.
            ShapeError: not [N 2].
            DataError: the function returned something else than positions and confidences.
        """
        if self._transfer is None:
            raise CapabilityError(
                f"{self._name} finds matches only; to transfer points use a matcher that can, such as "
                "matcher=mini, or give matcher=external a transfer function"
            )
        height, width = self._image0.size
        at = self._image0.xy_from_original(as_points(xy0))
        nearest = at.clamp_min(-0.5).minimum(at.new_tensor((width - 0.5, height - 0.5)))
        found = _checked_transfer(self._transfer(nearest.numpy()), len(at), self._name)
        return Transfer(
            self._image1.xy_to_original(found.xy), found.confidence * inside(at, self._image0.size)
        )


class ExternalMatcher:
    """Wraps a function that matches two images and, if there is one, a function that transfers points.

    ```python
    def match(image0, image1):  # uint8 [H W 3], RGB
        return xy0, xy1  # [M 2] each, or xy0, xy1, score with score [M], higher is better

    def transfer(image0, image1, xy0):  # float64 [N 2]
        return xy1  # [N 2], or a tuple (xy1, confidence) with confidence [N] in [0, 1]
    ```

    Coordinates are (x, y) in pixels of the arrays passed in, integers at pixel centres. The functions
    may return arrays, tensors or lists. Their results are checked: shapes, finite values, and that the
    matches lie on the images.
    """

    def __init__(
        self, function: Callable[..., Any] | str, transfer: Callable[..., Any] | str | None = None
    ) -> None:
        """Store the functions; one given as text is imported.

        Args:
            function: as `match` above, or `package.module:name`, or `path/to/file.py:name`. Its code is run,
                so name only code that you trust.
            transfer: as `transfer` above, or the same kinds of text; None for a method that finds matches only.

        Raises:
            ConfigError: a text that does not name a function.
        """
        self.function = load_function(function)
        self.transfer = None if transfer is None else load_function(transfer)
        self.name = function if isinstance(function, str) else _named(function)

    def match(self, image0: ImageLike, image1: ImageLike) -> ExternalCorrespondence:
        """Match two images; each may be a path, a PIL image, an array or an `Image`.

        Returns:
            The correspondence, which calls the functions when needed.

        Raises:
            DataError: an image that cannot be read; the message names it.
        """
        given = as_image(image0), as_image(image1)
        arrays = [_array(image) for image in given]
        transfer = self.transfer
        return ExternalCorrespondence(
            *given,
            name=self.name,
            match=lambda: _called(self.name, self.function, *arrays),
            transfer=None if transfer is None else lambda xy0: _called(self.name, transfer, *arrays, xy0),
        )


class VismatchMatcher(nn.Module):
    """A matcher of the package vismatch, which wraps some seventy published methods.

    It is loaded when the first pair is matched, because vismatch needs the device then. vismatch
    downloads weights by itself (its own cache, its own licences). Its RANSAC is switched off, because
    the protocols estimate geometry themselves. It finds matches only and cannot transfer points.
    """

    # Moves with the matcher, and so gives the device.
    _device_of: Tensor

    def __init__(
        self, name: str, *, keypoints: int = 2048, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Choose the method.

        Args:
            name: as in `vismatch.available_models`: `sift-nn`, `superpoint-lightglue`, `roma`.
            keypoints: maximum number of keypoints, for methods that have keypoints.
            settings: further arguments of `vismatch.get_matcher`.

        Raises:
            MissingDependencyError: vismatch is not installed.
            ConfigError: it has no matcher of this name.
        """
        super().__init__()
        known: list[str] = _vismatch().available_models
        if name not in known:
            raise ConfigError(f"vismatch has no matcher {name}{did_you_mean(name, known)}")
        self.name = name
        self.keypoints = keypoints
        self.settings = dict(settings or {})
        self.register_buffer("_device_of", torch.empty(0), persistent=False)
        self._loaded: tuple[torch.device, Any] | None = None

    def match(self, image0: ImageLike, image1: ImageLike) -> ExternalCorrespondence:
        """Match two images; each may be a path, a PIL image, an array or an `Image`.

        Raises:
            DataError: an image that cannot be read.
        """
        given = as_image(image0), as_image(image1)
        return ExternalCorrespondence(*given, name=f"vismatch {self.name}", match=lambda: self._match(*given))

    def _match(self, image0: Image, image1: Image) -> tuple[Any, Any, Any]:
        network = self._network()
        try:
            with torch.inference_mode():
                found = network(image0.pixels, image1.pixels)
            return found["matched_kpts0"], found["matched_kpts1"], found.get("matched_confidences")
        except Exception as error:  # each method fails in its own way; the cause has the traceback
            raise DataError(
                f"vismatch {self.name}: failed on {image0.name} and {image1.name} ({type(error).__name__}: {error})"
            ) from error

    def _network(self) -> Any:
        device = self._device_of.device
        if self._loaded is None or self._loaded[0] != device:
            try:
                # It prints to stdout, which is for our results.
                with contextlib.redirect_stdout(sys.stderr):
                    network = _vismatch().get_matcher(
                        self.name, device=str(device), max_num_keypoints=self.keypoints, **self.settings
                    )
            except HomologError:
                raise
            except Exception as error:  # no network, a missing package of one method, a wrong setting
                raise ConfigError(
                    f"vismatch {self.name}: cannot be loaded ({type(error).__name__}: {error})"
                ) from error
            network.eval()
            network.skip_ransac = True
            # Not a submodule: it stores its device, which `to` would not change.
            self._loaded = device, network
        return self._loaded[1]


def load_function(source: Callable[..., Any] | str) -> Callable[..., Any]:
    """Return a function; one given as text is imported.

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
        raise ConfigError(f"{source}: expected a function, got {type(found).__name__}")
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
    except Exception as error:  # external code may raise anything when it is imported
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
        # Copies, so that a function that modifies its arguments does not affect the next call.
        return function(*(argument.copy() for argument in arguments))
    except HomologError:
        raise
    except Exception as error:  # external code may raise anything; the cause has the traceback
        raise DataError(f"{name}: failed on these images ({type(error).__name__}: {error})") from error


def _array(image: Image) -> UInt8[np.ndarray, "H W 3"]:
    pixels = image.pixels.detach().cpu().clamp(0, 1) * 255 + 0.5
    return np.ascontiguousarray(pixels.to(torch.uint8).permute(1, 2, 0).numpy())


def _named(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))


def _vismatch() -> Any:
    try:
        import vismatch  # pyright: ignore[reportMissingImports]  # optional; pins versions that conflict with ours
    except ImportError as error:
        raise MissingDependencyError("vismatch", "matcher=vismatch") from error
    return vismatch


def _checked_matches(raw: Any, image0: Image, image1: Image, name: str) -> Matches:
    if not isinstance(raw, tuple | list) or len(cast(list[Any], raw)) not in (2, 3):
        raise DataError(f"{name}: expected (xy0, xy1) or (xy0, xy1, score), got {_kind(raw)}; return a tuple")
    parts = cast(list[Any], list(raw))
    xy0, xy1 = (
        _points(part, f"{name}: {word}") for part, word in zip(parts[:2], ("xy0", "xy1"), strict=True)
    )
    if len(xy0) != len(xy1):
        raise DataError(f"{name}: expected as many xy1 as xy0, got {len(xy1)} and {len(xy0)}")
    for xy, image, word in ((xy0, image0, "xy0"), (xy1, image1, "xy1")):
        _check_inside(xy, image, f"{name}: {word}")
    score = (
        torch.ones(len(xy0)) if len(parts) == 2 or parts[2] is None else _numbers(parts[2], f"{name}: score")
    )
    if score.shape != (len(xy0),):
        raise DataError(f"{name}: expected score [{len(xy0)}], got {list(score.shape)}")
    return Matches(xy0=xy0, xy1=xy1, score=score)


def _checked_transfer(raw: Any, count: int, name: str) -> Transfer:
    xy, confidence = cast("tuple[Any, ...]", raw) if isinstance(raw, tuple) and len(raw) == 2 else (raw, None)
    points = _points(xy, f"{name}: xy1")
    confidences = torch.ones(count) if confidence is None else _numbers(confidence, f"{name}: confidence")
    if len(points) != count or confidences.shape != (count,):
        raise DataError(
            f"{name}: expected xy1 [{count} 2] and confidence [{count}] for {count} points, got "
            f"{list(points.shape)} and {list(confidences.shape)}"
        )
    if not bool(((confidences >= 0) & (confidences <= 1)).all()):
        raise DataError(
            f"{name}: expected confidence in [0, 1], got {float(confidences.min()):g} to {float(confidences.max()):g}"
        )
    return Transfer(points, confidences)


def _points(raw: Any, name: str) -> Float[Tensor, "N 2"]:
    xy = _numbers(raw, name)
    if xy.numel() == 0:
        return torch.zeros(0, 2)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise DataError(f"{name}: expected [N 2] of (x, y), got {list(xy.shape)}")
    return xy


def _numbers(raw: Any, name: str) -> Tensor:
    try:
        array = (
            raw.detach().cpu()
            if isinstance(raw, Tensor)
            else torch.from_numpy(np.array(raw, dtype=np.float64))
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: expected numbers, got {_kind(raw)} ({error})") from error
    values = array.to(torch.float32).clone()  # a copy: it may be an inference tensor, or be changed later
    if not bool(values.isfinite().all()):
        raise DataError(f"{name}: expected finite numbers, got NaN or infinity; remove those")
    return values


def _check_inside(xy: Tensor, image: Image, name: str) -> None:
    outside = ~inside(xy, image.size)
    if bool(outside.any()):
        x, y = xy[outside][0].tolist()
        height, width = image.size
        raise DataError(
            f"{name}: expected pixels of an image of {width} x {height} with integers at pixel centres, got "
            f"({x:g}, {y:g}) and {int(outside.sum()) - 1} more outside it; scale them, or remove them"
        )


def _kind(raw: Any) -> str:
    if isinstance(raw, tuple | list):
        return f"a {type(raw).__name__} of {len(cast(list[Any], raw))}"
    return f"{type(raw).__name__}"
