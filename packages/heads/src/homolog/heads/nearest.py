"""The nearest-neighbour head: nothing to learn, all the knowledge is in the features."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size, resize_pixel
from homolog.core.dense import Transfer
from homolog.core.errors import CapabilityError, ConfigError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints, Matches
from homolog.heads.mutual import CHUNK, mutual_nearest
from homolog.heads.read_out import Located, check_reading, cosines, locate


class Nearest(nn.Module):
    """Pairs keypoints that are each other's nearest by cosine, and finds single points on a feature map.

    Scores of matches are cosines. The confidence of a transferred point is the concentration of its
    similarities (see `Located`) over 1 + (e / stride)^2, where e is how far from the point the way
    there and back again ends: near 1 for a place that resembles nothing else and is found both ways.
    """

    def __init__(
        self,
        *,
        map: str | None = None,
        match_threshold: float | None = None,
        ratio: float | None = None,
        window: int | None = 3,
        temperature: float = 0.02,
        sigma: float | None = None,
        source: str = "bilinear",
        chunk: int = CHUNK,
    ) -> None:
        """Choose how strict to be, and how to read points.

        Args:
            map: where to look for transferred points; None takes the only map there is.
            match_threshold: keep matches of a cosine above this; None keeps all.
            ratio: keep matches that are closer than this share of the second nearest, both ways;
                None keeps all.
            window: side in cells, odd, of the surroundings that refine a transferred point; 1 takes the
                centre of the best cell, None all cells.
            temperature: of the softmax in that window; small trusts the best cell.
            sigma: of a Gaussian around the best cell that weighs similarities, in cells (kernel
                soft-argmax); None for none.
            source: `bilinear` interpolates the descriptor of a transferred point between cells, `cell`
                takes that of the cell it lies in.
            chunk: how many similarities to hold at a time.

        Raises:
            ConfigError: a value out of its range.
        """
        super().__init__()
        check_reading(window=window, temperature=temperature, sigma=sigma, chunk=chunk)
        if source not in ("bilinear", "cell"):
            raise ConfigError(f"nearest: expected source bilinear or cell, got {source}")
        if ratio is not None and not 0 < ratio <= 1:
            raise ConfigError(f"nearest: expected a ratio in (0, 1] or null, got {ratio}")
        self.map = map
        self.match_threshold = match_threshold
        self.ratio = ratio
        self.window = window
        self.temperature = temperature
        self.sigma = sigma
        self.source = source
        self.chunk = chunk

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        """Return the mutual nearest neighbours; the score is their cosine.

        Raises:
            CapabilityError: keypoints without descriptors.
            ShapeError: descriptors of different lengths.
        """
        index0, index1, cosine = mutual_nearest(
            _descriptor(keypoints0),
            _descriptor(keypoints1),
            match_threshold=self.match_threshold,
            ratio=self.ratio,
            chunk=self.chunk,
        )
        return Matches(
            xy0=keypoints0.xy[index0],
            xy1=keypoints1.xy[index1],
            score=cosine,
            index0=index0,
            index1=index1,
        )

    def transfer(self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features) -> Transfer:
        """Find points of image 0 in image 1, reading only what they need.

        Args:
            xy0: pixel coordinates in the image that `features0` describe.
            features0: maps of image 0 (B = V = 1).
            features1: maps of image 1 (B = V = 1).

        Returns:
            Pixel coordinates in the image that `features1` describe, and confidence in [0, 1].

        Raises:
            ConfigError: several maps, and none was chosen.
            ShapeError: no such map, or features of several images.
        """
        there = self._find(xy0, features0, features1)
        xy1 = resize_pixel(there.xy, self._cells(features1), features1.image_size)
        again = self._find(xy1, features1, features0)
        astray = again.xy - resize_pixel(xy0, features0.image_size, self._cells(features0))
        confidence = there.concentration / (1 + astray.square().sum(dim=1))
        return Transfer(xy1.to(xy0.dtype), confidence.to(xy0.dtype))

    def similarity(
        self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features
    ) -> Float[Tensor, "N h w"]:
        """Compare points of image 0 with every cell of image 1: the cosines that `transfer` searches.

        Args:
            xy0: pixel coordinates in the image that `features0` describe.
            features0: maps of image 0 (B = V = 1).
            features1: maps of image 1 (B = V = 1).

        Raises:
            ConfigError: several maps, and none was chosen.
            ShapeError: no such map, or features of several images.
        """
        query = self._query(xy0, features0)
        return cosines(query, features1[self._name(features1)][0, 0].float())

    def _find(self, xy: Tensor, source: Features, target: Features) -> Located:
        return locate(
            self._query(xy, source),
            target[self._name(target)][0, 0].float(),
            window=self.window,
            temperature=self.temperature,
            sigma=self.sigma,
            chunk=self.chunk,
        )

    def _query(self, xy: Tensor, source: Features) -> Tensor:
        if self.source == "cell":
            cells = self._cells(source)
            last = xy.new_tensor((cells[1] - 1, cells[0] - 1))
            cell = resize_pixel(xy, source.image_size, cells).round().clamp_min(0).minimum(last)
            xy = resize_pixel(cell, cells, source.image_size)
        return source.at(self._name(source), xy).float()

    def _name(self, features: Features) -> str:
        if self.map is not None:
            return self.map
        if len(features.maps) > 1:
            raise ConfigError(f"nearest: expected one of the maps {', '.join(features.maps)}; set head.map")
        return next(iter(features.maps))

    def _cells(self, features: Features) -> Size:
        map_ = features[self._name(features)]
        return map_.shape[-2], map_.shape[-1]


def _descriptor(keypoints: Keypoints) -> Tensor:
    if keypoints.descriptor is None:
        raise CapabilityError(
            "nearest: expected keypoints with descriptors, got none; name a map of the backbone as descriptor_map"
        )
    return F.normalize(keypoints.descriptor.float(), dim=1)
