"""What a semi-dense matcher learns from: which coarse cells match, and where exactly their partners are."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import normalised_to_pixel, pixel_grid, resize_pixel
from homolog.core.features import Features
from homolog.training.batch import PairBatch
from homolog.training.coarse_truth import Rest, coarse_truth
from homolog.training.losses.coarse_focal import coarse_focal_loss
from homolog.training.losses.fine import fine_loss
from homolog.training.objective import Step


class SemidenseObjective(nn.Module):
    """Terms of a coarse-to-fine head: `coarse` (focal loss) and `fine` (LoFTR, section 3.5)."""

    def __init__(
        self,
        *,
        rest: Rest = "ignored",
        negative_weight: float | int = 0.0,
        gamma: float | int = 2.0,
        matches: int = 128,
    ) -> None:
        """Choose the labels.

        Args:
            rest: what cells of unknown partner are; see `coarse_truth`.
            negative_weight: of pairs of cells that do not match.
            gamma: of the focal loss.
            matches: true matches of each pair that `fine` refines, drawn anew each step.
        """
        super().__init__()
        self.rest: Rest = rest
        self.negative_weight, self.gamma, self.matches = float(negative_weight), float(gamma), matches
        self.terms = ("coarse", "fine")

    def forward(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the wanted terms."""
        head = matcher.head
        features0, features1 = (matcher.backbone(batch.images[:, side, None]) for side in (0, 1))  # type: ignore[operator]
        maps = [features[head.coarse] for features in (features0, features1)]  # type: ignore[index]
        cells0, cells1 = ((int(map_.shape[-2]), int(map_.shape[-1])) for map_ in maps)
        truth = coarse_truth(batch.field0, batch.field1, cells0=cells0, cells1=cells1, rest=self.rest)
        terms: dict[str, Tensor] = {}
        if "coarse" in step.wanted:
            tokens0, tokens1 = head.tokens(features0, features1)  # type: ignore[operator]
            similarity = tokens0 @ tokens1.mT / head.temperature  # type: ignore[operator]
            loss = coarse_focal_loss(
                similarity,
                truth.matches0,
                truth.matches1,
                gamma=self.gamma,
                negative_weight=self.negative_weight,
            )
            terms["coarse"] = loss.mean()
        if "fine" in step.wanted:
            fine = [
                self._fine(matcher, batch, index, (features0, features1), truth.matches0, truth.place0, step)
                for index in range(len(batch))
            ]
            terms["fine"] = torch.stack(fine).mean()
        return terms

    def _fine(
        self,
        matcher: nn.Module,
        batch: PairBatch,
        index: int,
        features: tuple[Features, Features],
        matches0: Tensor,
        place0: Tensor,
        step: Step,
    ) -> Tensor:
        head, size = matcher.head, batch.size
        one, two = (_only(each, index) for each in features)
        matched = (matches0[index] >= 0).nonzero()[:, 0]
        order = torch.randperm(len(matched), generator=step.generator)[: self.matches]
        chosen = matched[order.to(matched.device)]
        coarse0, coarse1 = (each[head.coarse] for each in (one, two))  # type: ignore[index]
        xy0 = _centres(coarse0, size)[chosen]
        xy1 = _centres(coarse1, size)[matches0[index][chosen]]
        refined: Tensor = head.refine(xy0, xy1, one, two)  # type: ignore[operator]
        fine = two[head.fine]  # type: ignore[index]
        # Half a window of the fine map, in pixels: what LoFTR measures in.
        half = (head.window // 2) * size[1] / fine.shape[-1]  # type: ignore[operator]
        truth = normalised_to_pixel(place0[index][chosen], size)
        return fine_loss((refined - xy1) / half, (truth - xy1) / half, weight="none")


def _only(features: Features, index: int) -> Features:
    maps = {name: map_[index : index + 1] for name, map_ in features.maps.items()}
    return Features(maps=maps, image_size=features.image_size)


def _centres(map_: Tensor, image_size: tuple[int, int]) -> Tensor:
    cells = int(map_.shape[-2]), int(map_.shape[-1])
    return resize_pixel(pixel_grid(cells, device=map_.device).to(torch.float32), cells, image_size)
