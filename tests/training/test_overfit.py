"""The whole of it learns: eight pairs by heart, and nothing where the labels say nothing."""

from dataclasses import replace

import pytest
import torch

from homolog.core.coords import normalised_to_pixel
from homolog.core.dense import DenseField
from homolog.training.batch import collate
from homolog.training.stage import Stage
from homolog.training.trainer import fit

SIZE = (32, 32)


def shuffled(sample):
    """The same labels at other pixels."""
    drawn = torch.Generator().manual_seed(0)
    order = torch.randperm(SIZE[0] * SIZE[1], generator=drawn)

    def moved(field):
        grid, confidence = field.grid.flatten(2)[..., order], field.confidence.flatten(1)[..., order]
        return DenseField(grid=grid.unflatten(2, SIZE), confidence=confidence.unflatten(1, SIZE))

    return replace(sample, dense0=moved(sample.dense0), dense1=moved(sample.dense1))


def end_point_error(matcher, pairs):
    """Of the field that lives on image 0, in pixels, where its labels are known."""
    batch = collate(pairs, size=SIZE)
    matcher.eval()
    with torch.no_grad():
        found = matcher.head(matcher.backbone(batch.images))[0]
    places = [normalised_to_pixel(field.grid.movedim(1, -1), SIZE) for field in (found, batch.field0)]
    return (places[0] - places[1]).norm(dim=-1)[batch.field0.confidence > 0].mean().item()


@pytest.mark.slow
def test_a_small_matcher_learns_eight_pairs_to_a_pixel_and_not_their_shuffled_labels(
    tmp_path, make_matcher, make_recipe, shifts
):
    plain = [shifts(8)[index] for index in range(8)]
    stage = Stage(
        steps=180,
        batch=8,
        losses={"dense": 1},
        data={"shifts": 1},
        trainable=["*"],
        learning_rate=1e-2,
        schedule="cosine",
    )
    errors = []
    for name, pairs in (("plain", plain), ("shuffled", [shuffled(pair) for pair in plain])):
        matcher = make_matcher()
        before = end_point_error(matcher, pairs)
        recipe = make_recipe(
            stages={"only": stage},
            sources={"shifts": lambda pairs=pairs: pairs},
            swap=0.0,
            checkpoint_every=180,
        )
        fit(recipe, matcher, tmp_path / name, device="cpu")
        errors.append((before, end_point_error(matcher, pairs)))
    (before, after), (_, without) = errors
    assert before > 8
    assert after < 1
    assert without > 4
