"""Published weight files: strict keys, what may stay out, and no second copy in memory."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from homolog.backbones.vggt.backbone import HEADS, VGGT
from homolog.backbones.vggt.checkpoint import match_keys
from homolog.core.errors import WeightsError


class Allocations(TorchDispatchMode):
    """Sums the bytes of new storages that are not on the meta device."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = {
            leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if torch.is_tensor(leaf)
        }
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if torch.is_tensor(leaf) and leaf.device.type != "meta":
                storage = leaf.untyped_storage()
                if storage._cdata not in known:
                    self.seen[storage._cdata] = storage.nbytes()
        return out

    @property
    def bytes(self):
        return sum(self.seen.values())


def published_1b():
    keys = json.loads((Path(__file__).parents[2] / "goldens" / "vggt_1b_keys.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape in keys.items()}


@pytest.mark.parametrize("heads", [(), ("camera",), ("depth", "point"), HEADS])
@pytest.mark.parametrize("shared", [None, 4])
def test_published_1b_keys_fill_the_network_and_only_other_heads_stay_out(heads, shared):
    with torch.device("meta"):
        model = VGGT(heads=heads, shared=shared)
    state = published_1b()
    found, left = match_keys(model, state, name="VGGT-1B")
    assert found.keys() == model.state_dict().keys()
    others = {f"{head}_head" for head in ("track", *HEADS) if head not in heads}
    # With a branch and nothing else to read them, the later published pairs are only copied from.
    assert left.keys() == others | {"aggregator.patch_embed"}
    assert left["track_head"] == sum(key.startswith("track_head.") for key in state)
    assert left["aggregator.patch_embed"] == 1


def test_published_1b_parameter_count_is_the_published_one():
    with torch.device("meta"):
        model = VGGT(heads=HEADS)
    keys = published_1b()
    published = sum(value.numel() for key, value in keys.items() if not key.startswith("track_head."))
    # Gone from ours: the mask token, and the class token's position, which is inside the token.
    width = model.architecture.width
    assert sum(parameter.numel() for parameter in model.parameters()) == published - 2 * width


def test_pairs_after_the_last_tap_stay_out():
    with torch.device("meta"):
        model = VGGT(taps=[4, 11])
    _, left = match_keys(model, published_1b(), name="VGGT-1B")
    assert {f"aggregator.frame_blocks.{index}" for index in range(12, 24)} <= left.keys()
    assert "aggregator.frame_blocks.11" not in left


def test_what_stays_out_is_told(build):
    assert build(heads=["depth"]).left_out.keys() == {"aggregator.patch_embed", "camera_head", "point_head"}


def test_both_file_kinds_load_the_same(tiny, build, official_file, tmp_path):
    torch.save(tiny.weights, tmp_path / "model.pt")
    a, b = build().state_dict(), build(checkpoint=tmp_path / "model.pt").state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("aggregator.global_blocks.1.attn.q_norm.weight"), "1 missing .*q_norm.weight"),
        (lambda w: w.update({"aggregator.frame_blocks.0.extra": torch.zeros(1)}), "1 unexpected .*0.extra"),
        (lambda w: w.update({"depth_head.extra": torch.zeros(1)}), "1 unexpected .*depth_head.extra"),
        (lambda w: w.update({"other.weight": torch.zeros(1)}), "1 unexpected .*other.weight"),
        (
            lambda w: w.update({"aggregator.camera_token": torch.zeros(1, 1, 1, 32)}),
            r"1 mismatched .*\[1, 1, 1, 32\]",
        ),
    ],
)
def test_file_that_does_not_fit_is_refused_with_its_keys(tiny, build, tmp_path, change, message):
    weights = dict(tiny.weights)
    change(weights)
    save_file(weights, tmp_path / "wrong.safetensors")
    with pytest.raises(WeightsError, match=message):
        build(heads=["depth"], checkpoint=tmp_path / "wrong.safetensors")


def test_truncated_file_is_refused(build, official_file, tmp_path):
    (tmp_path / "half.safetensors").write_bytes(official_file.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=r"half\.safetensors"):
        build(checkpoint=tmp_path / "half.safetensors")


def test_loading_makes_no_second_copy(tiny, build, official_file, monkeypatch):
    """Of all weights, only those that change layout or value may be new memory: decoders, class token."""
    state = {key: value.clone() for key, value in tiny.weights.items()}
    monkeypatch.setattr("homolog.backbones.vggt.checkpoint.load_state", lambda path: state)
    with Allocations() as allocations:
        model = build()
    total = sum(p.numel() * p.element_size() for p in model.parameters())
    positions = state["aggregator.patch_embed.pos_embed"]
    assert allocations.bytes <= 2 * positions.numel() * 4
    assert allocations.bytes < 0.05 * total
    assert model.aggregator.frame_blocks["0"].attn.qkv.weight.data_ptr() == (
        state["aggregator.frame_blocks.0.attn.qkv.weight"].data_ptr()
    )


def test_loading_leaves_nothing_on_the_meta_device(build):
    model = build(heads=HEADS, shared=1)
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert not list(model.buffers())
