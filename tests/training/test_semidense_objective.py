"""The 2D-3D alignment of the semi-dense objective: which Gaussian a cell shows, and what learns from it."""

from dataclasses import replace

import pytest
import torch

from homolog.core.errors import CapabilityError, ConfigError, ShapeError
from homolog.core.image import Image
from homolog.core.samples import ShownGaussians
from homolog.training.batch import collate, swapped
from homolog.training.checkpoints import SafetensorsCheckpointIO
from homolog.training.losses.semidense import alignment_loss
from homolog.training.objectives.base import Step
from homolog.training.objectives.semidense import SemidenseObjective, _as_partners, _shown
from homolog.training.recipe import Recipe
from homolog.training.stage import Stage, freeze
from homolog.training.trainer import fit
from homolog.zoo.build import build
from homolog.zoo.compose import compose

UNTRAINED = (
    "matcher=mini_semidense",
    "head.depth=1",
    "head.checkpoint=null",
    "backbone.fusion.checkpoint=null",
)
ALIGNED = (*UNTRAINED, "head.alignment_channels=8")


def step(*wanted):
    return Step(wanted=wanted, generator=torch.Generator().manual_seed(0), options={})


def made(*words):
    torch.manual_seed(0)
    return build(compose("match", words))


def with_gaussians(sample, seed=0):
    """A Gaussian for every 16 x 16 block of each image; those of image 1 are other ones."""
    drawn = torch.Generator().manual_seed(seed)
    block = torch.arange(16).reshape(4, 4).repeat_interleave(16, 0).repeat_interleave(16, 1).int()
    shown = ShownGaussians(id0=block, id1=block + 16, attributes=torch.randn(32, 14, generator=drawn))
    return replace(sample, gaussians=shown)


class Source:
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def test_numbers_of_no_gaussian_are_refused(unchecked):
    ids = torch.tensor([[0, 2]])
    with pytest.raises(ShapeError, match="expected numbers of Gaussians below 2, got 2"):
        ShownGaussians(id0=ids, id1=ids - 3, attributes=torch.zeros(2, 14))
    ShownGaussians(id0=ids - 3, id1=ids - 3, attributes=torch.zeros(0, 14))


def test_gaussians_go_with_their_images(shifts):
    sample = with_gaussians(shifts(size=64)[0])
    other = swapped(sample)
    assert sample.gaussians is not None
    assert other.gaussians is not None
    assert other.gaussians.id0 is sample.gaussians.id1
    assert other.gaussians.id1 is sample.gaussians.id0
    assert swapped(shifts(size=64)[0]).gaussians is None
    batch = collate([sample, shifts(size=64)[1]], size=(32, 32))
    assert batch.samples[0].gaussians is sample.gaussians
    assert batch.samples[1].gaussians is None


def test_a_cell_shows_the_gaussian_at_its_centre_in_the_file():
    ids = torch.arange(24).reshape(4, 6)
    # The file has 4 x 6 pixels and the network saw it at 8 x 12: the centre (2.5, 5.5) there is (1, 2.5) here.
    image = Image(pixels=torch.zeros(3, 8, 12), to_original=torch.tensor(((0.5, 0, -0.25), (0, 0.5, -0.25))))
    centres = torch.tensor(((2.5, 5.5), (-0.5, 0.0), (11.5, 7.5)))
    assert _shown(ids, image, centres).tolist() == [3 * 6 + 1, 0, 23]


def test_cells_that_match_show_the_gaussian_of_image_0():
    id0, id1 = torch.tensor((7, -1, 9)), torch.tensor((3, 4, 5, 6))
    matches1 = torch.tensor((2, -1, 1, -2))  # the third cell matches one that shows nothing
    assert _as_partners(id0, id1, matches1).tolist() == [9, 4, 5, 6]


def test_the_term_is_the_loss_of_hand_picked_cells(shifts):
    matcher = made(*ALIGNED)
    freeze(matcher, ["backbone.fusion.*", "head.*"])
    objective = SemidenseObjective(alignment_channels=8, cells=10_000)
    encoder = objective.get_submodule("encoder")
    sample = with_gaussians(replace(shifts(size=64)[0], dense0=None, dense1=None))
    assert sample.gaussians is not None
    batch = collate([sample, replace(sample, gaussians=None)], size=(64, 64))
    term = objective(matcher, batch, step("alignment"))["alignment"]
    # Without labels no cells match: each of the 8 x 8 shows the block that it lies in.
    cell = torch.arange(16).reshape(4, 4).repeat_interleave(2, 0).repeat_interleave(2, 1).flatten()
    ids = torch.cat((cell, cell + 16))
    with torch.no_grad():
        seen = torch.cat(
            [matcher.head.aligned(matcher.backbone(batch.images[:1, side, None]))[0] for side in (0, 1)]
        )
        alone = alignment_loss(seen, encoder(sample.gaussians.attributes[ids]), ids, temperature=0.07)
    # The mean over both pairs of the batch; the second knows no Gaussians.
    assert term.item() == pytest.approx(alone.item() / 2, rel=1e-4)
    term.backward()
    for learnt in (
        encoder.get_parameter("0.weight"),
        matcher.head.alignment.weight,
        matcher.head.project.weight,
    ):
        assert learnt.grad is not None
        assert learnt.grad.abs().max() > 0


def test_fewer_cells_are_drawn_by_the_generator_of_the_step(shifts):
    matcher = made(*ALIGNED)
    batch = collate([with_gaussians(shifts(size=64)[0])], size=(64, 64))
    objective = SemidenseObjective(alignment_channels=8, cells=16)
    with torch.no_grad():
        terms = [objective(matcher, batch, step("alignment"))["alignment"].item() for _ in range(2)]
        other = objective(
            matcher, batch, replace(step("alignment"), generator=torch.Generator().manual_seed(1))
        )
    assert terms[0] == terms[1] != other["alignment"].item()


def test_what_is_missing_is_told(shifts):
    batch = collate([with_gaussians(shifts(size=64)[0])], size=(64, 64))
    with pytest.raises(ConfigError, match=r"set objective\.alignment_channels"):
        SemidenseObjective()(made(*ALIGNED), batch, step("alignment"))
    with pytest.raises(CapabilityError, match=r"set head\.alignment_channels"):
        SemidenseObjective(alignment_channels=8)(made(*UNTRAINED), batch, step("alignment"))


def test_the_encoder_learns_and_is_kept_in_the_checkpoint(shifts, tmp_path):
    torch.manual_seed(0)
    objective = SemidenseObjective(alignment_channels=8)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    samples = [with_gaussians(shifts(size=64)[index], seed=index) for index in range(2)]
    stage = Stage(
        steps=2, batch=2, losses={"alignment": 1}, data={"made": 1}, trainable=["head.*"], learning_rate=1e-2
    )
    recipe = Recipe(
        matcher="mini_semidense",
        settings=ALIGNED[1:],
        parts=["head"],
        objective=objective,
        sources={"made": lambda: Source(samples)},
        stages={"one": stage},
        size=[64, 64],
    )
    fit(recipe, made(*ALIGNED), tmp_path / "run", device="cpu")
    learnt = {name: value.clone() for name, value in objective.state_dict().items()}
    assert all(not torch.equal(learnt[name], before[name]) for name in before)
    state = SafetensorsCheckpointIO().load_checkpoint(tmp_path / "run" / "one" / "last.safetensors")[
        "state_dict"
    ]
    assert all(torch.equal(state[f"objective.{name}"], value) for name, value in learnt.items())
    # A stage that is finished gives them back.
    fresh = SemidenseObjective(alignment_channels=8)
    fit(replace(recipe, objective=fresh), made(*ALIGNED), tmp_path / "run", resume=True, device="cpu")
    assert all(torch.equal(value, learnt[name]) for name, value in fresh.state_dict().items())
