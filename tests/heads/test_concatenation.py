"""Maps side by side."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.heads.concatenation import Concatenation


def features() -> Features:
    random = torch.Generator().manual_seed(0)
    maps = {
        "a": torch.randn(1, 2, 4, 6, 8, generator=random),
        "b": torch.randn(1, 2, 6, 3, 4, generator=random),
    }
    return Features(maps=maps, image_size=(48, 64))


def test_parts_are_thinned_resampled_brought_to_unit_norm_and_weighted():
    given = features()
    parts = [{"map": "a", "channels": 4, "weight": 3.0}, {"map": "b", "channels": 6, "stride": 2}]
    net = Concatenation(parts=parts)
    found = net(given)["unified"]
    assert net.channels == {"unified": 7}
    b = F.interpolate(given["b"][0, :, ::2], size=(6, 8), mode="bilinear", align_corners=False)
    expected = [F.normalize(given["a"][0], dim=1) * 0.75**0.5, F.normalize(b, dim=1) * 0.25**0.5]
    torch.testing.assert_close(found[0], torch.cat(expected, dim=1))


def test_plain_merging_only_concatenates():
    given = features()
    net = Concatenation(parts=[{"map": "a", "channels": 4, "stride": 3}], merging="plain", name="joined")
    assert torch.equal(net(given)["joined"], given["a"][:, :, ::3])
    assert net.channels == {"joined": 2}


@pytest.mark.parametrize("changes", [{"stride": 0}, {"weight": 0.0}, {"channels": 0}])
def test_what_leaves_nothing_is_refused(changes: dict[str, Any]):
    with pytest.raises(ConfigError, match="concatenation"):
        Concatenation(parts=[{"map": "a", "channels": 4, **changes}])
    with pytest.raises(ConfigError, match="at least one map"):
        Concatenation(parts=[])
