"""What a semi-dense matcher learns from: which cells match, where exactly, and which Gaussians they show."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from homolog.core.coords import normalised_to_pixel, pixel_grid, resize_pixel
from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.core.image import Image
from homolog.core.protocols import Backbone
from homolog.training.batch import PairBatch
from homolog.training.coarse_truth import CoarseTruth, Rest, coarse_truth
from homolog.training.losses.alignment import Positives, alignment_loss
from homolog.training.losses.coarse_focal import coarse_focal_loss
from homolog.training.losses.fine import fine_loss
from homolog.training.objective import Step
from homolog.training.parts import CellHead, part


class SemidenseObjective(nn.Module):
    """Terms of a coarse-to-fine head.

    `coarse` (focal loss) and `fine` are LoFTR's, section 3.5. `alignment` is MatchGS's: what a coarse cell
    looks like is drawn to what the Gaussian that it shows is like, as an encoder tells it that learns too.
    It is part of this objective, not of the matcher: matching never reads it.
    """

    def __init__(
        self,
        *,
        rest: Rest = "ignored",
        negative_weight: float | int = 0.0,
        gamma: float | int = 2.0,
        matches: int = 128,
        alignment_channels: int | None = None,
        attributes: int = 14,
        cells: int = 512,
        temperature: float | int = 0.07,
        positives: Positives = "mean",
    ) -> None:
        """Choose the labels.

        Args:
            rest: what cells of unknown partner are; see `coarse_truth`.
            negative_weight: of pairs of cells that do not match.
            gamma: of the focal loss.
            matches: true matches of each pair that `fine` refines, drawn anew each step.
            alignment_channels: of the encoded Gaussians: those of the head, `head.alignment_channels`; None
                makes no encoder, and `alignment` is an error.
            attributes: numbers of a Gaussian in the samples.
            cells: of both images together that `alignment` compares, drawn anew each step.
            temperature: of `alignment`.
            positives: of `alignment`; see `alignment_loss`.
        """
        super().__init__()
        self.rest: Rest = rest
        self.negative_weight, self.gamma, self.matches = float(negative_weight), float(gamma), matches
        self.cells, self.temperature = cells, float(temperature)
        self.positives: Positives = positives
        self.encoder = None if alignment_channels is None else _encoder(attributes, alignment_channels)
        self.terms = ("coarse", "fine", "alignment")

    def forward(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the wanted terms.

        Raises:
            ConfigError: a head that matches no cells, or `alignment` is wanted, but there is no encoder.
            CapabilityError: `alignment` is wanted of a head without `alignment_channels`.
        """
        head, backbone = part(matcher, "head", CellHead), part(matcher, "backbone", Backbone)
        one, two = (backbone(batch.images[:, side, None]) for side in (0, 1))
        features = one, two
        maps = [each[head.coarse] for each in features]
        cells0, cells1 = ((int(map_.shape[-2]), int(map_.shape[-1])) for map_ in maps)
        truth = coarse_truth(batch.field0, batch.field1, cells0=cells0, cells1=cells1, rest=self.rest)
        terms: dict[str, Tensor] = {}
        if "coarse" in step.wanted:
            tokens0, tokens1 = head.tokens(*features)
            similarity = tokens0 @ tokens1.mT / head.temperature
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
                self._fine(head, batch, index, features, truth.matches0, truth.place0, step)
                for index in range(len(batch))
            ]
            terms["fine"] = torch.stack(fine).mean()
        if "alignment" in step.wanted:
            terms["alignment"] = self._alignment(head, batch, features, truth, step)
        return terms

    def _fine(
        self,
        head: CellHead,
        batch: PairBatch,
        index: int,
        features: tuple[Features, Features],
        matches0: Tensor,
        place0: Tensor,
        step: Step,
    ) -> Tensor:
        size = batch.size
        one, two = (_only(each, index) for each in features)
        matched = (matches0[index] >= 0).nonzero()[:, 0]
        order = torch.randperm(len(matched), generator=step.generator)[: self.matches]
        chosen = matched[order.to(matched.device)]
        coarse0, coarse1 = (each[head.coarse] for each in (one, two))
        xy0 = _centres(coarse0, size)[chosen]
        xy1 = _centres(coarse1, size)[matches0[index][chosen]]
        refined = head.refine(xy0, xy1, one, two)
        fine = two[head.fine]
        # Half a window of the fine map, in pixels: what LoFTR measures in.
        half = (head.window // 2) * size[1] / fine.shape[-1]
        truth = normalised_to_pixel(place0[index][chosen], size)
        return fine_loss((refined - xy1) / half, (truth - xy1) / half, weight="none")

    def _alignment(
        self,
        head: CellHead,
        batch: PairBatch,
        features: tuple[Features, Features],
        truth: CoarseTruth,
        step: Step,
    ) -> Tensor:
        if self.encoder is None:
            raise ConfigError(
                "semidense: expected alignment_channels for the term alignment, got none; set "
                "objective.alignment_channels to those of the head"
            )
        seen = torch.cat([head.aligned(each) for each in features], dim=1)
        losses = [seen.sum() * 0]
        for index, sample in enumerate(batch.samples):
            if sample.gaussians is None:
                continue
            id0, id1 = (
                _shown(ids, image, _centres(each[head.coarse], batch.size))
                for ids, image, each in (
                    (sample.gaussians.id0, sample.image0, features[0]),
                    (sample.gaussians.id1, sample.image1, features[1]),
                )
            )
            ids = torch.cat((id0, _as_partners(id0, id1, truth.matches1[index])))
            order = torch.randperm(len(ids), generator=step.generator)[: self.cells]
            ids, chosen = ids[order], seen[index][order.to(seen.device)]
            told = sample.gaussians.attributes[ids.clamp_min(0)].to(seen.device)
            losses.append(
                alignment_loss(
                    chosen,
                    self.encoder(told),
                    ids.to(seen.device),
                    temperature=self.temperature,
                    positives=self.positives,
                )
            )
        return torch.stack(losses).sum() / len(batch)


def _encoder(attributes: int, channels: int) -> nn.Module:
    width = 2 * channels
    return nn.Sequential(
        nn.Linear(attributes, width),
        nn.GELU(),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Linear(width, channels),
    )


def _shown(ids: Int[Tensor, "H W"], image: Image, centres: Float[Tensor, "N 2"]) -> Int[Tensor, " N"]:
    """Return the Gaussian at the pixel of the original file that is nearest to the centre of each cell."""
    last = torch.tensor((ids.shape[1] - 1, ids.shape[0] - 1))
    at = (image.xy_to_original(centres.cpu()) + 0.5).floor().long().clamp_min(0).minimum(last)
    return ids[at[:, 1], at[:, 0]].long()


def _as_partners(
    id0: Int[Tensor, " N"], id1: Int[Tensor, " M"], matches1: Int[Tensor, " M"]
) -> Int[Tensor, " M"]:
    """Give cells of image 1 the Gaussians of the cells that they match.

    Gaussians are smaller than cells: at the centres of two cells that match there are two neighbours of one
    surface, which would be told apart.
    """
    matches1 = matches1.cpu()
    theirs = id0[matches1.clamp_min(0)]
    return torch.where((matches1 >= 0) & (theirs >= 0), theirs, id1)


def _only(features: Features, index: int) -> Features:
    maps = {name: map_[index : index + 1] for name, map_ in features.maps.items()}
    return Features(maps=maps, image_size=features.image_size)


def _centres(map_: Tensor, image_size: tuple[int, int]) -> Tensor:
    cells = int(map_.shape[-2]), int(map_.shape[-1])
    return resize_pixel(pixel_grid(cells, device=map_.device).to(torch.float32), cells, image_size)
