"""The dual softmax loss against XFeat's own numbers."""

import json
from pathlib import Path

import torch

from homolog.training.losses.dual_softmax import dual_softmax_loss


def test_golden_loss_confidence_and_gradient_are_those_of_xfeat(goldens: Path):
    golden = json.loads((goldens / "mutual_nn.json").read_text(encoding="utf-8"))
    about = golden["dual_softmax_loss"]
    assert about["values"]
    for value in about["values"]:
        descriptor0 = torch.tensor(about["X"], requires_grad=True)
        loss, confidence = dual_softmax_loss(descriptor0, torch.tensor(about["Y"]), scale=value["temp"])
        loss.backward()
        torch.testing.assert_close(loss.detach(), torch.tensor(value["loss"]))
        torch.testing.assert_close(confidence, torch.tensor(value["conf"]))
        torch.testing.assert_close(descriptor0.grad, torch.tensor(value["grad_X"]), rtol=1e-5, atol=1e-5)
