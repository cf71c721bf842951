"""What a model or a student may be called: names become file names, URLs and ids on every node."""

from __future__ import annotations

import re

from littoral.errors import BadInput

_FORM = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}")


def checked_name(what: str, name: str) -> str:
    """The name. Raises BadInput, naming what it is of, where it is none."""
    if not _FORM.fullmatch(name):
        raise BadInput(
            f"{what}: {name!r} is no name", hint="a to z, 0 to 9, dot, dash and underscore, at most 48, as in digits or cnn-s"
        )
    return name


def name_from(text: str, other: str) -> str:
    """The name nearest to a text, of a file say; `other` where nothing of it can stay."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:48].rstrip("-._")
    return name if _FORM.fullmatch(name) else other
