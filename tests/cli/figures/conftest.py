"""Look at figures before they become files."""

import pytest
from matplotlib.figure import Figure

from homolog.cli.figures import layout, samples


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that a test draws, in order."""
    drawn: list[Figure] = []
    encoded = layout.encoded

    def keep(figure: Figure, kind: str) -> bytes:
        drawn.append(figure)
        return encoded(figure, kind)

    monkeypatch.setattr(layout, "encoded", keep)
    monkeypatch.setattr(samples, "encoded", keep)
    return drawn
