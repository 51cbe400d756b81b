"""The Python examples of the README run."""

import re
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

README = Path(__file__).parents[2] / "packages" / "matchers" / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("code", [block for block in BLOCKS if "load_matcher" in block])
def test_the_examples_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    photo = Image.fromarray(data.astronaut()).resize((240, 240))
    for name, angle in (("a", 0), ("b", 5), ("c", 10)):
        photo.rotate(angle).save(f"{name}.jpg")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    if "pairs" in names:
        pairs = names["pairs"]
        assert isinstance(pairs, list)
        assert all(len(found.matches()) > 20 for found in pairs)
