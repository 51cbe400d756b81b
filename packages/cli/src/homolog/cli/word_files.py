"""Words of the command line that lie in files: `@overrides.txt`."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from homolog.core.errors import ConfigError


def expanded(argv: Sequence[str]) -> list[str]:
    """Replace each `@FILE` by the words in the file, which may have quotes as in a shell and # for remarks.

    A photo whose own name begins with @ stays what it is.

    Raises:
        ConfigError: no such file, or one that is no text of words.
    """
    words: list[str] = []
    for word in argv:
        if word.startswith("@") and len(word) > 1 and not Path(word).exists():
            words += _words(Path(word[1:]))
        else:
            words.append(word)
    return words


def _words(path: Path) -> list[str]:
    try:
        return shlex.split(path.read_text(encoding="utf-8"), comments=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"@{path}: expected a file of words such as head.window=7 ({error})") from error
