"""What a step that fails, or is interrupted, leaves behind."""

import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from homolog.training.checkpoint_files import CheckpointFiles
from homolog.training.failure import TrainingError
from homolog.training.fit import fit
from homolog.training.objectives.dense import DenseObjective


class Spoilt(DenseObjective):
    """From some step on, the loss is not finite, or only its gradient."""

    def __init__(self, *, after, what):
        super().__init__()
        self.after, self.what, self.calls = after, what, 0

    def forward(self, matcher, batch, step):
        terms = super().forward(matcher, batch, step)
        self.calls += 1
        if self.calls <= self.after:
            return terms
        if self.what == "loss":
            return {name: value * torch.nan for name, value in terms.items()}
        zero = torch.stack([parameter.sum() * 0 for parameter in matcher.parameters()]).sum()
        return {name: value + zero.sqrt() for name, value in terms.items()}


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_numbers_that_are_not_finite_end_the_training_with_the_batch_and_without_a_checkpoint(
    what, tmp_path, make_matcher, make_recipe
):
    matcher = make_matcher()
    with pytest.raises(TrainingError) as caught:
        fit(make_recipe(objective=Spoilt(after=3, what=what)), matcher, tmp_path, device="cpu")
    assert f"step 3: expected a finite {what}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    batch = load_file(tmp_path / "first/failures/step3.safetensors")
    assert batch["images"].shape == (2, 2, 3, 32, 32)
    assert CheckpointFiles().load_checkpoint(tmp_path / "first/last.safetensors")["global_step"] == 2
    assert all(parameter.isfinite().all() for parameter in matcher.parameters())
    assert not (tmp_path / "first/finished.json").exists()
    # Mended, it goes on to the end.
    fit(make_recipe(), make_matcher(), tmp_path, resume=True, device="cpu")
    assert (tmp_path / "second/finished.json").exists()


def test_an_interruption_is_one_and_leaves_interruptions_possible(tmp_path, make_matcher, make_recipe):
    def interrupt(stage, step, steps, values):
        if step == 3:
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(make_recipe(), make_matcher(), tmp_path, device="cpu", progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "first/last.safetensors").is_file()


def test_frozen_weights_are_not_in_the_checkpoint(tmp_path, make_matcher, make_recipe):
    made = make_recipe()
    stages = {"first": replace(made.stages["first"], trainable=["head.*"])}
    matcher = make_matcher()
    before = {name: value.clone() for name, value in matcher.backbone.state_dict().items()}
    fit(make_recipe(stages=stages), matcher, tmp_path, device="cpu")
    kept = CheckpointFiles().load_checkpoint(tmp_path / "first/last.safetensors")["state_dict"]
    parameters = {name for name, _ in matcher.named_parameters()}
    assert {name for name in kept if name.removeprefix("matcher.") in parameters} == {
        f"matcher.head.{name}" for name, _ in matcher.head.named_parameters()
    }
    assert all(torch.equal(before[name], value) for name, value in matcher.backbone.state_dict().items())
