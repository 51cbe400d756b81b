"""Matchers of the package vismatch, which wraps some seventy published methods behind one interface."""

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from homolog.core.errors import ConfigError, DataError, HomologError, MissingDependencyError, did_you_mean
from homolog.core.image import Image
from homolog.core.io import as_image
from homolog.core.protocols import ImageLike
from homolog.matchers.answered import AnsweredCorrespondence, Answers


class VismatchMatcher(nn.Module):
    """One of vismatch's matchers, by its name there.

    It is loaded when the first pair is matched, because vismatch needs to know the device then, and
    places and fetches weights by itself (its own cache, its own licences). Its RANSAC is switched off:
    protocols estimate on their own. It finds matches only; points cannot be transferred.
    """

    place: torch.Tensor

    def __init__(
        self, name: str, *, keypoints: int = 2048, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Choose a matcher.

        Args:
            name: as in `vismatch.available_models`: `sift-nn`, `superpoint-lightglue`, `roma`.
            keypoints: how many to look for at most, where the method has keypoints.
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
        # Goes where the matcher is sent, and so tells the device.
        self.register_buffer("place", torch.empty(0), persistent=False)
        self._loaded: tuple[torch.device, Any] | None = None

    def match(self, image0: ImageLike, image1: ImageLike) -> AnsweredCorrespondence:
        """Match two images; each may be a path, a PIL image, an array or an `Image`.

        Raises:
            DataError: an image that cannot be read.
        """
        given = as_image(image0), as_image(image1)
        answers = Answers(name=f"vismatch {self.name}", match=lambda: self._match(*given))
        return AnsweredCorrespondence(*given, answers)

    def _match(self, image0: Image, image1: Image) -> tuple[Any, Any, Any]:
        network = self._network()
        try:
            with torch.inference_mode():
                found = network(image0.pixels, image1.pixels)
            return found["matched_kpts0"], found["matched_kpts1"], found.get("matched_confidences")
        except Exception as error:  # seventy methods fail in as many ways; the cause keeps the traceback
            raise DataError(
                f"vismatch {self.name}: failed on {image0.name} and {image1.name} ({type(error).__name__}: {error})"
            ) from error

    def _network(self) -> Any:
        device = self.place.device
        if self._loaded is None or self._loaded[0] != device:
            try:
                # It reports on stdout, where our results go.
                with contextlib.redirect_stdout(sys.stderr):
                    network = _vismatch().get_matcher(
                        self.name, device=str(device), max_num_keypoints=self.keypoints, **self.settings
                    )
            except HomologError:
                raise
            except Exception as error:  # no network, an optional package of one method, a wrong setting
                raise ConfigError(
                    f"vismatch {self.name}: cannot be loaded ({type(error).__name__}: {error})"
                ) from error
            network.eval()
            network.skip_ransac = True
            # Not a submodule: moving it would leave the device that it noted for itself behind.
            self._loaded = device, network
        return self._loaded[1]


def _vismatch() -> Any:
    try:
        import vismatch  # pyright: ignore[reportMissingImports]  # optional, and in conflict with most of homolog's pins
    except ImportError as error:
        raise MissingDependencyError("vismatch", "matcher=vismatch") from error
    return vismatch
