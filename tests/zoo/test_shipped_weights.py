"""What weights of ours are worth: each product against its untrained self, on pairs that nobody learnt from."""

import pytest
import torch

from homolog.core.coords import normalised_to_pixel, pixel_to_normalised
from homolog.core.sampling import sample_points
from homolog.synthetic.scene_pairs import ScenePairs
from homolog.synthetic.semantic_pairs import SemanticPairs
from homolog.zoo import load_matcher


def untrained(product, *settings):
    torch.manual_seed(0)
    return load_matcher(product, *settings, device="cpu")


@pytest.fixture(scope="module")
def objects():
    """Other instances of categories that mini_dense has seen, as far apart as there."""
    names = ["car", "fish", "quadruped", "aeroplane"]
    source = SemanticPairs(count=8, size=128, seed=0, split="test", names=names, turn=70.0)
    return [source[index] for index in range(8)]


def test_mini_dense_finds_the_same_parts_of_made_up_objects(objects):
    def error(matcher):
        off = [
            (matcher.match(each.image0, each.image1).transfer(each.xy0).xy - each.xy1).norm(dim=1)
            for each in objects
        ]
        return float(torch.cat(off).mean())

    shipped = error(load_matcher("mini_dense", device="cpu"))
    start = error(untrained("mini_dense", "backbone.checkpoint=null", "head.checkpoint=null"))
    assert shipped < 0.75 * start
    # Saying "the same place" is no match.
    assert shipped < 0.75 * float(torch.cat([(each.xy0 - each.xy1).norm(dim=1) for each in objects]).mean())


def test_mini_semidense_refines_matches_of_made_up_scenes():
    source = ScenePairs(count=4, size=256, seed=5, split="test", turn=40.0, overlap=(0.4, 0.9))
    samples = [source[index] for index in range(4)]

    def error(matcher):
        off = []
        for each in samples:
            found = matcher.match(each.image0, each.image1).matches()
            assert len(found) >= 20
            field = each.dense0
            assert field is not None
            at = pixel_to_normalised(found.xy0, field.size)[None]
            known = sample_points(field.confidence[:, None], at)[0, :, 0] > 1 - 1e-4
            place = normalised_to_pixel(sample_points(field.grid.nan_to_num(), at)[0], field.size)
            away = (found.xy1 - place).norm(dim=1)[known]
            off.append(away[away < 8])  # the right cells: the same in both
        return float(torch.cat(off).median())

    start = error(untrained("mini_semidense", "backbone.fusion.checkpoint=null", "head.checkpoint=null"))
    assert error(load_matcher("mini_semidense", device="cpu")) < 0.8 * start
