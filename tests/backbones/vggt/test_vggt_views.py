"""Any number of views, against a slow twin written from the paper's description and the weights."""

import math

import pytest
import torch
import torch.nn.functional as F

from homolog.backbones.vggt.encoder import encode

TOLERANCE = 2e-5


def images_of(tiny, *, scenes, views, rows=3, columns=4):
    patch = tiny.architecture.patch
    generator = torch.Generator().manual_seed(views)
    return torch.rand(scenes, views, 3, rows * patch, columns * patch, generator=generator)


class Twin:
    """Frame and global attention one token, one head, one view at a time; no shared code with ours."""

    def __init__(self, tiny):
        self.weights = tiny.weights
        self.sizes = tiny.architecture

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x, name, epsilon=1e-5):
        centred = x - x.mean(-1, keepdim=True)
        normal = centred / (centred.square().mean(-1, keepdim=True) + epsilon).sqrt()
        return normal * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def turn(self, vector, position):
        """Rotate one head's channels of one token, as complex numbers."""
        turned = []
        for half, place in zip(vector.chunk(2), position, strict=True):
            real, imaginary = half.chunk(2)
            count = len(real)
            angle = torch.tensor([place * self.sizes.rope_base ** (-k / count) for k in range(count)])
            spun = torch.complex(real, imaginary) * torch.polar(torch.ones(count), angle)
            turned += [spun.real, spun.imag]
        return torch.cat(turned)

    def attention(self, x, name, heads, positions):
        width = x.shape[1] // heads
        q, k, v = self.linear(x, f"{name}.qkv").chunk(3, dim=1)
        out = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            query, key = q[:, part], k[:, part]
            if positions is not None:
                query, key = self.norm(query, f"{name}.q_norm"), self.norm(key, f"{name}.k_norm")
                query, key = (
                    torch.stack([self.turn(row, place) for row, place in zip(rows, positions, strict=True)])
                    for rows in (query, key)
                )
            out.append((query @ key.T / math.sqrt(width)).softmax(-1) @ v[:, part])
        return self.linear(torch.cat(out, dim=1), f"{name}.proj")

    def block(self, x, name, heads, positions=None):
        x = x + self.weights[f"{name}.ls1.gamma"] * self.attention(
            self.norm(x, f"{name}.norm1"), f"{name}.attn", heads, positions
        )
        inner = self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        return x + self.weights[f"{name}.ls2.gamma"] * self.linear(inner, f"{name}.mlp.fc2")

    def scene(self, patches, rows, columns):
        """Return [V N 2C] per pair, for the patch tokens [V P C] of one scene."""
        heads = self.sizes.attention_heads
        views = []
        for number, own in enumerate(patches):
            slot = 0 if number == 0 else 1
            special = [self.weights[f"aggregator.{kind}_token"][0, slot] for kind in ("camera", "register")]
            views.append(torch.cat((*special, own)))
        places = [(0, 0)] * self.sizes.specials
        places += [(y + 1, x + 1) for y in range(rows) for x in range(columns)]
        pairs = []
        for index in range(self.sizes.depth):
            views = [self.block(view, f"aggregator.frame_blocks.{index}", heads, places) for view in views]
            frame = torch.stack(views)
            together = self.block(
                torch.cat(views), f"aggregator.global_blocks.{index}", heads, places * len(views)
            )
            views = list(together.split(len(places)))
            pairs.append(torch.cat((frame, torch.stack(views)), dim=-1))
        return pairs

    def poses(self, tokens):
        """Return [V 9] per iteration, for the camera tokens [V C] of one scene."""
        start = self.norm(tokens, "camera_head.token_norm")
        raw, poses = torch.zeros(len(tokens), 9), []
        for step in range(self.sizes.camera_iterations):
            before = (
                self.weights["camera_head.empty_pose_tokens"][0].expand(len(tokens), -1) if step == 0 else raw
            )
            known = self.linear(before, "camera_head.embed_pose")
            modulation = self.linear(known * known.sigmoid(), "camera_head.poseLN_modulation.1")
            shift, scale, gate = modulation.chunk(3, dim=1)
            plain = F.layer_norm(start, start.shape[1:], eps=1e-6)
            x = gate * (plain * (1 + scale) + shift) + start
            for index in range(self.sizes.camera_depth):
                x = self.block(x, f"camera_head.trunk.{index}", self.sizes.camera_attention_heads)
            inner = F.gelu(self.linear(self.norm(x, "camera_head.trunk_norm"), "camera_head.pose_branch.fc1"))
            raw = raw + self.linear(inner, "camera_head.pose_branch.fc2")
            poses.append(torch.cat((raw[:, :7], raw[:, 7:].clamp(min=0)), dim=1))
        return poses


@pytest.mark.parametrize(("scenes", "views"), [(1, 1), (2, 2), (1, 3)])
def test_pairs_and_poses_match_a_slow_twin(tiny, assemble, stages, scenes, views):
    model = assemble(tiny)
    images = images_of(tiny, scenes=scenes, views=views)
    rows, columns = 3, 4
    found = stages(model, images)
    twin = Twin(tiny)
    for scene in range(scenes):
        with torch.inference_mode():
            patches = encode(model.aggregator.patch_embed, images[scene])
        pairs = twin.scene(patches, rows, columns)
        for index, expected in enumerate(pairs):
            error = (found[f"block.{index}"][scene] - expected).abs().max()
            assert error <= TOLERANCE * expected.abs().max()
        for step, expected in enumerate(twin.poses(pairs[-1][:, 0])):
            error = (found[f"pose_enc.{step}"][scene] - expected).abs().max()
            assert error <= TOLERANCE * expected.abs().max()


def test_twin_itself_matches_the_golden(tiny):
    case = tiny.cases[0]
    _, views, _, height, width = tiny.images(case).shape
    expected = tiny.outputs(case)
    patch = tiny.architecture.patch
    patches = expected["patch_tokens"].unflatten(0, (-1, views))[0]
    pairs = Twin(tiny).scene(patches, height // patch, width // patch)
    for index, value in enumerate(pairs):
        b = expected[f"block.{index}"][0]
        assert (value - b).abs().max() <= TOLERANCE * b.abs().max()


def test_scenes_of_a_batch_do_not_see_each_other(tiny, build):
    model = build()
    images = images_of(tiny, scenes=2, views=2)
    with torch.inference_mode():
        both, second = model(images), model(images[1:])
    for name in both.maps:
        torch.testing.assert_close(both[name][1:], second[name], rtol=1e-5, atol=1e-6)


def test_each_view_is_decoded_alone(tiny, build):
    images = images_of(tiny, scenes=1, views=3)
    one, many = (build(heads=["depth", "point"], frames_per_chunk=count) for count in (1, 8))
    with torch.inference_mode():
        a, b = one.geometry(images), many.geometry(images)
    for x, y in ((a.depth, b.depth), (a.points, b.points), (a.depth_score, b.depth_score)):
        assert (x - y).abs().max() <= TOLERANCE * y.abs().max()


def test_sliced_and_expanded_images_give_what_contiguous_ones_give(tiny, build):
    model = build()
    images = images_of(tiny, scenes=1, views=3)
    sliced = images.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)[:, 1:]
    with torch.inference_mode():
        expected, found = model(images[:, 1:].contiguous()), model(sliced)
    for name in expected.maps:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)
