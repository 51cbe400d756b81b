"""Coarse focal, fine and alignment losses, by hand."""

import math

import pytest
import torch
from torch import nn

from homolog.core.errors import ConfigError
from homolog.training.losses.semidense import alignment_loss, coarse_focal_loss, expectation, fine_loss

# --- coarse -------------------------------------------------------------------------------------

SIMILARITY = torch.tensor([[[math.log(3), 0.0], [0.0, 0.0]]])
"""Confidences: 3/4 * 3/4, 1/4 * 1/2, 1/2 * 1/4 and 1/2 * 1/2."""
P = [[0.5625, 0.125], [0.125, 0.25]]


def focal(p: float, *, alpha: float = 0.25, gamma: float = 2.0) -> float:
    return -alpha * (1 - p) ** gamma * math.log(p)


def test_a_match_costs_its_focal_loss():
    found = coarse_focal_loss(SIMILARITY, torch.tensor([[0, 1]]), torch.tensor([[0, 1]]))
    assert found.tolist() == pytest.approx([(focal(P[0][0]) + focal(P[1][1])) / 2])
    one = coarse_focal_loss(SIMILARITY, torch.tensor([[0, -2]]), torch.tensor([[0, -2]]), gamma=0.0)
    assert one.tolist() == pytest.approx([-0.25 * math.log(P[0][0])])


def test_other_pairs_cost_theirs_if_asked_and_unknown_ones_never():
    options = {"negative_weight": 0.5, "positive_weight": 2.0}
    matches = torch.tensor([[0, -2]])
    found = coarse_focal_loss(SIMILARITY, matches, matches, **options)
    # (0, 1) and (1, 0) are wrong since cell 0 is taken on either side; of (1, 1) nobody knows.
    assert found.tolist() == pytest.approx([2 * focal(P[0][0]) + 0.5 * focal(1 - P[0][1])])
    alone = torch.tensor([[0, -1]])
    found = coarse_focal_loss(SIMILARITY, alone, alone, **options)
    negatives = (2 * focal(1 - P[0][1]) + focal(1 - P[1][1])) / 3
    assert found.tolist() == pytest.approx([2 * focal(P[0][0]) + 0.5 * negatives])


def test_pairs_of_images_without_matches_cost_nothing():
    nothing = torch.full((2, 2), -2)
    found = coarse_focal_loss(SIMILARITY.expand(2, 2, 2), nothing, nothing, negative_weight=1.0)
    assert found.tolist() == [0.0, 0.0]
    empty = torch.zeros(2, 0, dtype=torch.long)
    assert coarse_focal_loss(torch.zeros(2, 0, 2), empty, nothing).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4])
def test_certain_and_hopeless_matches_have_finite_costs_and_the_hopeless_learn(scale):
    similarity = (scale * torch.eye(3)[None]).requires_grad_()
    right, wrong = torch.tensor([[0, 1, 2]]), torch.tensor([[1, 2, 0]])
    for matches0, matches1 in ((right, right), (wrong, torch.tensor([[2, 0, 1]]))):
        similarity.grad = None
        loss = coarse_focal_loss(similarity, matches0, matches1, negative_weight=1.0)
        assert loss.isfinite().all()
        loss.sum().backward()
        assert similarity.grad is not None
        assert similarity.grad.isfinite().all()
    assert similarity.grad.abs().max() > 0.01


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"gamma": -1.0}, {"negative_weight": -1.0}])
def test_numbers_of_the_focal_loss_have_to_be_in_range(wrong):
    none = torch.full((1, 2), -2)
    with pytest.raises(ConfigError, match="coarse focal loss: expected alpha"):
        coarse_focal_loss(SIMILARITY, none, none, **wrong)


# --- fine ---------------------------------------------------------------------------------------


def test_mean_and_spread_of_a_heatmap():
    places = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = expectation(torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]), places)
    torch.testing.assert_close(found.place, torch.tensor([[0.0, 0.0], [0.5, 0.5]]))
    torch.testing.assert_close(found.deviation, torch.tensor([1.0, 1.0]), atol=2e-5, rtol=0)


def test_a_heatmap_of_one_place_has_a_gradient():
    logits = torch.tensor([[60.0, 0.0, 0.0]], requires_grad=True)
    found = expectation(logits.softmax(dim=1), torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    (found.place.sum() + found.deviation.sum()).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


PLACE = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.0], [0.0, 0.0]])
TRUTH = torch.tensor([[0.3, 0.4], [0.5, 0.5], [1.0, 0.0], [torch.nan, 0.0]])
"""0.25 and 0.25 off, one beyond reach, one unknown."""


def test_fine_places_cost_their_squared_distance_within_reach():
    place = PLACE * torch.tensor([[1.0, 0.0]])
    assert fine_loss(place, TRUTH).item() == pytest.approx(0.25)
    place[0] = TRUTH[0]
    assert fine_loss(place, TRUTH).item() == pytest.approx(0.125)
    assert fine_loss(place, TRUTH, reach=1.5).item() == pytest.approx(1.25 / 3)
    assert fine_loss(place, TRUTH, reach=0.1).item() == 0


def test_sure_matches_weigh_more_and_spreading_does_not_pay():
    place = PLACE.clone()
    place[0] = TRUTH[0]
    deviation = torch.tensor([1.0, 3.0, 0.01, torch.nan], requires_grad=True)
    # Weights 1 and 1/3, errors 0 and 0.25.
    found = fine_loss(place.requires_grad_(), TRUTH, deviation)
    assert found.item() == pytest.approx(0.25 * (1 / 3) / (4 / 3))
    found.backward()
    assert deviation.grad is None
    assert fine_loss(place, TRUTH, deviation, weight="none").item() == pytest.approx(0.125)


@pytest.mark.usefixtures("unchecked")
def test_options_of_the_fine_loss_have_to_exist():
    with pytest.raises(ConfigError, match=r"expected weight to be one of .*std'"):
        fine_loss(PLACE, TRUTH, weight="std")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected a reach above 0"):
        fine_loss(PLACE, TRUTH, reach=0.0)


# --- alignment ----------------------------------------------------------------------------------


def test_distinct_gaussians_are_the_symmetric_contrast():
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    encodings = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    cosine = [[1.0, 0.0], [0.6, 0.8]]
    temperature = 0.5
    e = [[math.exp(c / temperature) for c in row] for row in cosine]
    rows = -math.log(e[0][0] / sum(e[0])) - math.log(e[1][1] / sum(e[1]))
    columns = -math.log(e[0][0] / (e[0][0] + e[1][0])) - math.log(e[1][1] / (e[0][1] + e[1][1]))
    for positives in ("mean", "any"):
        found = alignment_loss(
            features, encodings, torch.tensor([7, 3]), temperature=temperature, positives=positives
        )
        assert found.item() == pytest.approx((rows / 2 + columns / 2) / 2, rel=1e-5)


def test_cells_of_one_gaussian_are_partners_and_not_negatives():
    # Two cells show Gaussian 4, one shows 9, and all agree with what they show.
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    ids = torch.tensor([4, 4, 9])
    assert alignment_loss(features, features, ids, positives="any", temperature=0.01).item() == pytest.approx(
        0, abs=1e-6
    )
    # Asked for both, the first two share their probability.
    found = alignment_loss(features, features, ids, temperature=0.01)
    assert found.item() == pytest.approx(2 / 3 * math.log(2), rel=1e-5)
    # As if they were of different Gaussians, that would have been a confusion.
    apart = alignment_loss(features, features, torch.tensor([4, 5, 9]), positives="any", temperature=0.01)
    assert apart.item() == pytest.approx(2 / 3 * math.log(2), rel=1e-5)


def test_descending_it_takes_cells_to_their_gaussians():
    generator = torch.Generator().manual_seed(0)
    features = nn.Parameter(torch.randn(6, 4, generator=generator))
    table = nn.Parameter(torch.randn(3, 4, generator=generator))
    ids = torch.tensor([0, 0, 1, 1, 2, 2])

    def right() -> bool:
        cosine = nn.functional.normalize(features, dim=1) @ nn.functional.normalize(table, dim=1).T
        return torch.equal(cosine.argmax(dim=1), ids)

    assert not right()
    for _ in range(100):
        loss = alignment_loss(features, table[ids], ids)
        for each, gradient in zip(
            (features, table), torch.autograd.grad(loss, (features, table)), strict=True
        ):
            each.data -= 0.5 * gradient
    assert right()
    # With two partners each, the least there is.
    assert math.log(2) <= alignment_loss(features, table[ids], ids).item() < math.log(2) + 0.05


def test_cells_that_show_no_gaussian_do_not_count():
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(5, 4, generator=generator) for _ in range(2))
    ids = torch.tensor([2, -1, 5, -1, 2])
    shown = ids >= 0
    one[1] = two[3] = torch.nan
    torch.testing.assert_close(
        alignment_loss(one, two, ids), alignment_loss(one[shown], two[shown], ids[shown])
    )
    assert alignment_loss(one, two, torch.full((5,), -1)).item() == 0


@pytest.mark.usefixtures("unchecked")
def test_options_of_the_alignment_have_to_exist():
    with pytest.raises(ConfigError, match=r"expected positives to be one of .*all'"):
        alignment_loss(torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1).long(), positives="all")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected a temperature above 0"):
        alignment_loss(torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1).long(), temperature=0.0)
