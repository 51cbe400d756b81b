"""Semi-dense matching: cells are matched at 1/8 of the image, then each match is refined by itself.

Sources: LoFTR (Sun et al., CVPR 2021), section 3.3 (coarse dual softmax, eq. 2) and 3.4 (fine
correlation and its expectation); MatchGS for the alignment of coarse features with Gaussians,
which only training uses.
"""

from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from homolog.core.coords import Size, pixel_grid, pixel_to_normalised, resize_pixel
from homolog.core.dense import Transfer
from homolog.core.errors import CapabilityError, ConfigError, one_of
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.sampling import sample_points
from homolog.core.weights import load_state, restore
from homolog.heads.attention import Attention, sine_cosine

ROWS = 1 << 22
"""Similarities held at a time."""

Start = Literal["random", "features"]


class CoarseMatches(NamedTuple):
    """Cells that are each other's best.

    Attributes:
        index0: [M] cells of image 0, row by row.
        index1: [M] cells of image 1.
        probability: [M] dual softmax.
    """

    index0: Int[Tensor, " M"]
    index1: Int[Tensor, " M"]
    probability: Float[Tensor, " M"]


class CoarseToFine(nn.Module):
    """Pairs cells of a coarse map and refines the pairs on a fine one.

    The keypoints that it is handed are not read: every cell of the coarse map takes part. Memory grows
    linearly with the cells and with the matches: similarities are made a block of rows at a time, and
    of the fine maps only a window around each match is read.
    """

    def __init__(
        self,
        *,
        coarse: str = "coarse",
        fine: str = "fine",
        coarse_channels: int = 256,
        fine_channels: int = 128,
        width: int = 256,
        depth: int = 4,
        heads: int = 8,
        temperature: float = 0.1,
        match_threshold: float = 0.2,
        border: int = 0,
        window: int = 5,
        fine_width: int = 128,
        alignment_channels: int | None = None,
        start: Start = "random",
        checkpoint: Path | None = None,
    ) -> None:
        """Build the head.

        Args:
            coarse: name of the map whose cells are matched.
            fine: name of the map that refines.
            coarse_channels: of the coarse map.
            fine_channels: of the fine map.
            width: of the coarse tokens.
            depth: layers of self-attention, each followed by one of cross-attention between the images;
                0 matches the projected features as they are.
            heads: of each attention.
            temperature: divides the coarse cosines; LoFTR takes 0.1.
            match_threshold: keep matches of a coarse probability above this; LoFTR takes 0.2.
            border: leave out this many cells along the borders.
            window: side, odd, of the fine window, in cells of the fine map; 1 does not refine.
            fine_width: of the fine descriptors.
            alignment_channels: of the projection that aligns coarse features with encoded Gaussians in
                training (MatchGS); None makes none. Matching never reads it.
            start: what an untrained head compares: `random` projections, as LoFTR, or the cells of the coarse
                map themselves (`features`): the projection begins as the identity and every attention layer
                by adding nothing; layers read where cells are, but it is no part of what is compared. That
                is ours, for maps that describe cells well already.
            checkpoint: a safetensors file; None starts from random weights.

        Raises:
            ConfigError: numbers out of their range, no such start, or one from a map of another width.
            WeightsError: a checkpoint that does not fit.
        """
        super().__init__()
        if window < 1 or window % 2 == 0 or temperature <= 0 or border < 0 or depth < 0:
            raise ConfigError(
                "coarse_to_fine: expected an odd window, a temperature above 0, border and depth of at least 0, "
                f"got {window}, {temperature}, {border} and {depth}"
            )
        if width % 4 or width % heads:
            raise ConfigError(
                f"coarse_to_fine: expected a width that 4 and heads divide, got {width} and {heads}"
            )
        one_of("start", start, get_args(Start))
        if start == "features" and coarse_channels != width:
            raise ConfigError(
                f"coarse_to_fine: expected the width to be the {coarse_channels} coarse_channels, to start from the "
                f"features, got {width}; set start=random for others"
            )
        self.coarse, self.fine, self.start = coarse, fine, start
        self.temperature, self.match_threshold = temperature, match_threshold
        self.border, self.window = border, window
        self.project = nn.Conv2d(coarse_channels, width, 1)
        self.own = nn.ModuleList(Attention(width, heads) for _ in range(depth))
        self.other = nn.ModuleList(Attention(width, heads) for _ in range(depth))
        self.refine_with = nn.Conv2d(fine_channels, fine_width, 1)
        # A sharp start leaves the expectation at the centre's side of the window; it learns the rest.
        self.sharpness = nn.Parameter(torch.tensor(10.0))
        self.alignment = None if alignment_channels is None else nn.Linear(width, alignment_channels)
        if start == "features":
            self._pass_through()
        if checkpoint is not None:
            restore(self, load_state(checkpoint), name=str(checkpoint))

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        """Return matches; the score is the coarse probability. Image 0 keeps the centres of its cells."""
        del keypoints0, keypoints1
        tokens0, tokens1 = self.tokens(features0, features1)
        cells0, cells1 = self._cells(features0), self._cells(features1)
        found = mutual_cells(
            tokens0[0], tokens1[0], temperature=self.temperature, match_threshold=self.match_threshold
        )
        inner = _inner(found.index0, cells0, self.border) & _inner(found.index1, cells1, self.border)
        xy0 = _centres(found.index0[inner], cells0, features0.image_size)
        xy1 = _centres(found.index1[inner], cells1, features1.image_size)
        xy1 = self.refine(xy0, xy1, features0, features1)
        return Matches(xy0=xy0, xy1=xy1, score=found.probability[inner])

    def transfer(self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features) -> Transfer:
        """Find single points: the most similar cell of image 1, refined; at the cost of the N rows only.

        The confidence is the probability of that cell in the softmax over image 1.
        """
        query, cells1 = self._asked(xy0, features0, features1)
        found = [
            (part @ cells1.T / self.temperature).softmax(dim=1).max(dim=1)
            for part in query.split(max(1, ROWS // cells1.shape[0]))
        ]
        sure, best = (torch.cat(each) for each in zip(*found, strict=True))
        xy1 = _centres(best, self._cells(features1), features1.image_size)
        return Transfer(self.refine(xy0, xy1, features0, features1).to(xy0.dtype), sure.to(xy0.dtype))

    def similarity(
        self, xy0: Float[Tensor, "N 2"], features0: Features, features1: Features
    ) -> Float[Tensor, "N h w"]:
        """Compare points of image 0 with every coarse cell of image 1: the cosines that `transfer` searches."""
        query, cells1 = self._asked(xy0, features0, features1)
        return (query @ cells1.T).unflatten(1, self._cells(features1))

    def tokens(self, features0: Features, features1: Features) -> tuple[Tensor, Tensor]:
        """Return unit descriptors of the coarse cells of both images, [B N D] and [B M D].

        With a batch (V = 1) this is what the coarse loss is computed from.
        """
        one, two = (self._projected(features) for features in (features0, features1))
        place0, place1 = (self._seen_places(features).to(one) for features in (features0, features1))
        for own, other in zip(self.own, self.other, strict=True):
            seen0, seen1 = one + place0, two + place1
            one, two = one + own(seen0, seen0), two + own(seen1, seen1)
            seen0, seen1 = one + place0, two + place1
            one, two = one + other(seen0, seen1), two + other(seen1, seen0)
        return F.normalize(one, dim=-1), F.normalize(two, dim=-1)

    def refine(
        self, xy0: Float[Tensor, "M 2"], xy1: Float[Tensor, "M 2"], features0: Features, features1: Features
    ) -> Float[Tensor, "M 2"]:
        """Move matches in image 1 by the expectation of the fine correlation around them; differentiable.

        Args:
            xy0: pixels of image 0 (B = V = 1), at any place.
            xy1: pixels of image 1 near the match.
            features0: of image 0.
            features1: of image 1.

        Returns:
            The refined places, at most half a window away, never beyond the outermost pixel centres.
        """
        if self.window == 1 or not len(xy0):
            return xy1
        fine0, fine1 = (
            self.refine_with(features[self.fine][:, 0].to(self.project.weight))
            for features in (features0, features1)
        )
        grid1 = (fine1.shape[-2], fine1.shape[-1])
        around = pixel_grid((self.window, self.window), device=xy1.device).to(xy1) - self.window // 2
        moved: list[Tensor] = []
        for part0, part1 in zip(
            xy0.split(self._matches_at_once), xy1.split(self._matches_at_once), strict=True
        ):
            query = F.normalize(_read(fine0, part0, features0.image_size), dim=-1)
            middle = resize_pixel(part1, features1.image_size, grid1)
            cells = middle[:, None] + around
            places = resize_pixel(cells.flatten(0, 1), grid1, features1.image_size)
            near = F.normalize(_read(fine1, places, features1.image_size), dim=-1).unflatten(
                0, cells.shape[:2]
            )
            weight = (self.sharpness * torch.einsum("md,mkd->mk", query, near)).softmax(dim=1)
            expected = middle + torch.einsum("mk,kd->md", weight, around.to(weight)).to(middle)
            moved.append(resize_pixel(expected, grid1, features1.image_size))
        height, width = features1.image_size
        last = xy1.new_tensor((width - 1, height - 1))
        return torch.cat(moved).clamp_min(0).minimum(last)

    def aligned(self, features: Features) -> Float[Tensor, "B N A"]:
        """Return the coarse features of single images as training aligns them with encoded Gaussians.

        Raises:
            CapabilityError: the head was built without `alignment_channels`.
        """
        if self.alignment is None:
            raise CapabilityError(
                "coarse_to_fine: expected alignment_channels for this loss; set head.alignment_channels"
            )
        return self.alignment(self._projected(features))

    def _asked(self, xy0: Tensor, features0: Features, features1: Features) -> tuple[Tensor, Tensor]:
        """Return unit descriptors of points of image 0, [N D], and of the cells of image 1, [M D]."""
        tokens0, tokens1 = self.tokens(features0, features1)
        map0 = tokens0.transpose(1, 2).unflatten(2, self._cells(features0))
        at = pixel_to_normalised(xy0, features0.image_size)[None]
        return F.normalize(sample_points(map0, at.to(map0))[0], dim=1), tokens1[0]

    @property
    def _matches_at_once(self) -> int:
        return max(1, ROWS // (self.window * self.window * self.refine_with.out_channels))

    def _projected(self, features: Features) -> Tensor:
        map_ = features[self.coarse][:, 0]
        tokens = self.project(map_.to(self.project.weight)).flatten(2).transpose(1, 2)
        if not len(self.own) or self.start == "features":
            return tokens
        return tokens + sine_cosine(self._cells(features), tokens.shape[-1]).to(tokens)

    def _seen_places(self, features: Features) -> Tensor:
        """Return what layers read besides the tokens; those of a random start have places in them."""
        if not len(self.own) or self.start == "random":
            return torch.zeros(())
        return sine_cosine(self._cells(features), self.project.out_channels)

    @torch.no_grad()
    def _pass_through(self) -> None:
        self.project.weight.copy_(torch.eye(self.project.out_channels)[..., None, None])
        nn.init.zeros_(self.project.get_parameter("bias"))
        for layer in (*self.own, *self.other):
            for name in ("out", "feed_forward.2"):
                last = layer.get_submodule(name)
                nn.init.zeros_(last.get_parameter("weight"))
                nn.init.zeros_(last.get_parameter("bias"))

    def _cells(self, features: Features) -> Size:
        map_ = features[self.coarse]
        return map_.shape[-2], map_.shape[-1]


def mutual_cells(
    descriptor0: Float[Tensor, "N D"],
    descriptor1: Float[Tensor, "M D"],
    *,
    temperature: float,
    match_threshold: float,
    rows: int = ROWS,
) -> CoarseMatches:
    """Find the pairs whose dual softmax is the highest of their row and of their column, and above a minimum.

    The same as on the whole matrix, a block of rows at a time: one pass for the sums of rows and
    columns, one for the maxima.

    Args:
        descriptor0: unit length.
        descriptor1: unit length.
        temperature: divides the cosines.
        match_threshold: of the probability.
        rows: similarities held at a time.
    """
    blocks = descriptor0.split(max(1, rows // max(1, len(descriptor1))))
    if not len(descriptor0) or not len(descriptor1):
        none = torch.zeros(0, dtype=torch.long, device=descriptor0.device)
        return CoarseMatches(none, none, descriptor0.new_zeros(0))
    of_rows: list[Tensor] = []
    of_columns = descriptor1.new_full((len(descriptor1),), -torch.inf)
    for block in blocks:
        similarity = block @ descriptor1.T / temperature
        of_rows.append(similarity.logsumexp(dim=1))
        of_columns = torch.logaddexp(of_columns, similarity.logsumexp(dim=0))
    best_row: list[Tensor] = []
    index_row: list[Tensor] = []
    best_column = torch.full_like(of_columns, -torch.inf)
    index_column = torch.zeros_like(of_columns, dtype=torch.long)
    begin = 0
    for block, sums in zip(blocks, of_rows, strict=True):
        # log p = 2 s - log sum of its row - log sum of its column
        logarithm = 2 * (block @ descriptor1.T) / temperature - sums[:, None] - of_columns
        highest, where = logarithm.max(dim=1)
        best_row.append(highest)
        index_row.append(where)
        highest, where = logarithm.max(dim=0)
        better = highest > best_column
        best_column = torch.where(better, highest, best_column)
        index_column = torch.where(better, where + begin, index_column)
        begin += len(block)
    index1, probability = torch.cat(index_row), torch.cat(best_row).exp()
    index0 = torch.arange(len(index1), device=index1.device)
    keep = (index_column[index1] == index0) & (probability > match_threshold)
    return CoarseMatches(index0[keep], index1[keep], probability[keep])


def _centres(index: Tensor, cells: Size, image: Size) -> Tensor:
    xy = torch.stack((index % cells[1], index // cells[1]), dim=-1)
    return resize_pixel(xy.to(torch.float32), cells, image)


def _inner(index: Tensor, cells: Size, border: int) -> Tensor:
    x, y = index % cells[1], index // cells[1]
    return (x >= border) & (x < cells[1] - border) & (y >= border) & (y < cells[0] - border)


def _read(map_: Tensor, xy: Tensor, image: Size) -> Tensor:
    return sample_points(map_, pixel_to_normalised(xy, image)[None].to(map_))[0]
