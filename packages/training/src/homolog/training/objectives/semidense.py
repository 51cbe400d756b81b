"""The objective of semi-dense matchers: coarse matches, their refinement, and alignment with 3D Gaussians."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from homolog.core.coords import normalised_to_pixel, pixel_grid, resize_pixel
from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.core.image import Image
from homolog.core.protocols import Backbone
from homolog.training.batch import PairBatch
from homolog.training.ground_truth import CoarseTruth, Rest, coarse_truth
from homolog.training.losses.semidense import Positives, alignment_loss, coarse_focal_loss, fine_loss
from homolog.training.objectives.base import CoarseToFineHead, Step, part


class SemidenseObjective(nn.Module):
    """Terms of a coarse-to-fine head.

    `coarse` (focal loss) and `fine` are LoFTR's, section 3.5. `alignment` is MatchGS's: it pulls the feature of a
    coarse cell towards the encoded attributes of the Gaussian that the cell shows. The encoder is trained too; it
    belongs to this objective, not to the matcher, because matching never uses it.
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
        """Set the options of the losses.

        Args:
            rest: label of cells without a known match; see `coarse_truth`.
            negative_weight: weight of pairs of cells that do not match; see `coarse_focal_loss`.
            gamma: exponent of the focal loss.
            matches: number of true matches per pair that `fine` refines, drawn anew in each step.
            alignment_channels: channels of the encoded Gaussians, equal to `head.alignment_channels`; None makes
                no encoder, so the term `alignment` is an error.
            attributes: number of attributes of a Gaussian in the samples.
            cells: number of cells of both images together in `alignment`, drawn anew in each step.
            temperature: temperature of `alignment`.
            positives: see `alignment_loss`.
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
            ConfigError: a head that matches no cells, or `alignment` is wanted without an encoder.
            CapabilityError: `alignment` is wanted of a head without `alignment_channels`.
        """
        head, backbone = part(matcher, "head", CoarseToFineHead), part(matcher, "backbone", Backbone)
        features = backbone(batch.images[:, 0, None]), backbone(batch.images[:, 1, None])
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
            fine = [self._fine(head, batch, index, features, truth, step) for index in range(len(batch))]
            terms["fine"] = torch.stack(fine).mean()
        if "alignment" in step.wanted:
            terms["alignment"] = self._alignment(head, batch, features, truth, step)
        return terms

    def _fine(
        self,
        head: CoarseToFineHead,
        batch: PairBatch,
        index: int,
        features: tuple[Features, Features],
        truth: CoarseTruth,
        step: Step,
    ) -> Tensor:
        size, matches0 = batch.size, truth.matches0[index]
        one, two = (each.item(index) for each in features)
        matched = (matches0 >= 0).nonzero()[:, 0]
        order = torch.randperm(len(matched), generator=step.generator)[: self.matches]
        chosen = matched[order.to(matched.device)]
        coarse0, coarse1 = (each[head.coarse] for each in (one, two))
        xy0 = _centres(coarse0, size)[chosen]
        xy1 = _centres(coarse1, size)[matches0[chosen]]
        refined = head.refine(xy0, xy1, one, two)
        fine = two[head.fine]
        # Half a window of the fine map, in pixels: LoFTR's unit.
        half = (head.window // 2) * size[1] / fine.shape[-1]
        place = normalised_to_pixel(truth.place0[index][chosen], size)
        return fine_loss((refined - xy1) / half, (place - xy1) / half, weight="none")

    def _alignment(
        self,
        head: CoarseToFineHead,
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
        aligned = torch.cat([head.aligned(each) for each in features], dim=1)
        losses = [aligned.sum() * 0]
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
            ids, chosen = ids[order], aligned[index][order.to(aligned.device)]
            attributes = sample.gaussians.attributes[ids.clamp_min(0)].to(aligned.device)
            losses.append(
                alignment_loss(
                    chosen,
                    self.encoder(attributes),
                    ids.to(aligned.device),
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
    """Return the Gaussian at the pixel of the original file nearest to the centre of each cell."""
    last = torch.tensor((ids.shape[1] - 1, ids.shape[0] - 1))
    at = (image.xy_to_original(centres.cpu()) + 0.5).floor().long().clamp_min(0).minimum(last)
    return ids[at[:, 1], at[:, 0]].long()


def _as_partners(
    id0: Int[Tensor, " N"], id1: Int[Tensor, " M"], matches1: Int[Tensor, " M"]
) -> Int[Tensor, " M"]:
    """Assign to cells of image 1 the Gaussians of the cells that they match.

    Gaussians are smaller than cells: the centres of two matching cells show two neighbouring Gaussians of one
    surface, which would count as different.
    """
    matches1 = matches1.cpu()
    theirs = id0[matches1.clamp_min(0)]
    return torch.where((matches1 >= 0) & (theirs >= 0), theirs, id1)


def _centres(map_: Tensor, image_size: tuple[int, int]) -> Tensor:
    cells = int(map_.shape[-2]), int(map_.shape[-1])
    return resize_pixel(pixel_grid(cells, device=map_.device).to(torch.float32), cells, image_size)
