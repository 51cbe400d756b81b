"""The similarities of single points with a whole map."""

import pytest
import torch
import torch.nn.functional as F

from homolog.core.errors import ShapeError
from homolog.core.features import Features
from homolog.core.protocols import SimilarityHead
from homolog.heads.nearest import Nearest
from homolog.heads.read_out import cosines


def test_they_are_the_cosines_with_every_cell():
    torch.manual_seed(0)
    features = [
        Features(maps={"m": torch.randn(1, 1, 5, *size)}, image_size=(64, 48)) for size in ((8, 6), (4, 7))
    ]
    head = Nearest()
    assert isinstance(head, SimilarityHead)
    xy = torch.tensor([[3.5, 3.5], [20.0, 50.0]])
    found = head.similarity(xy, *features)
    query = features[0].at("m", xy)
    expected = F.cosine_similarity(query[:, :, None, None], features[1]["m"][0], dim=1)
    assert found.shape == (2, 4, 7)
    torch.testing.assert_close(found, expected)
    # (3.5, 3.5) is the centre of the first cell: on its own map it is most similar to itself.
    own = head.similarity(xy[:1], features[0], features[0])[0]
    assert own.argmax() == 0
    assert own[0, 0].item() == pytest.approx(1, abs=1e-5)


@pytest.mark.usefixtures("unchecked")
def test_descriptors_of_other_lengths_are_refused():
    with pytest.raises(ShapeError, match="one length"):
        cosines(torch.randn(2, 4), torch.randn(5, 3, 3))
