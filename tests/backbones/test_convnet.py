"""timm's convolutional networks as backbones."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from homolog.backbones.convnet import ConvNet
from homolog.core.errors import ConfigError, WeightsError


def test_the_maps_are_those_of_timm_on_normalised_pixels(tmp_path: Path):
    torch.manual_seed(0)
    whole = timm.create_model("resnet18").eval()
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    net = ConvNet(model="resnet18", strides=[2, 8], checkpoint=tmp_path / "whole.safetensors")
    assert net.channels == {"stride.2": 64, "stride.8": 128}
    assert net.multiple == 8
    images = torch.rand(1, 2, 3, 64, 96)
    found = net(images)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = (images[0] - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        features = timm.create_model("resnet18", features_only=True).eval()
        features.load_state_dict(whole.state_dict(), strict=False)
        expected = features(seen)
    torch.testing.assert_close(found["stride.2"][0], expected[0])
    torch.testing.assert_close(found["stride.8"][0], expected[2])


def test_stages_that_nobody_reads_are_not_built():
    names = [name for name, _ in ConvNet(model="resnet18", strides=[4]).named_parameters()]
    assert not [name for name in names if "layer2" in name or "layer3" in name]


def test_another_model_or_stride_is_refused():
    with pytest.raises(ConfigError, match="a model of timm"):
        ConvNet(model="resnet1800", strides=[4])
    with pytest.raises(ConfigError, match="strides among"):
        ConvNet(model="resnet18", strides=[3])


def test_weights_of_another_network_are_refused(tmp_path: Path):
    save_file(timm.create_model("resnet26").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError):
        ConvNet(model="resnet18", strides=[8], checkpoint=tmp_path / "other.safetensors")


def test_its_own_state_comes_back(tmp_path: Path):
    trained = ConvNet(model="resnet18", strides=[4])
    save_file(trained.state_dict(), tmp_path / "own.safetensors")
    again = ConvNet(model="resnet18", strides=[4], checkpoint=tmp_path / "own.safetensors").state_dict()
    assert all(torch.equal(again[name], value) for name, value in trained.state_dict().items())
