"""Pages of a list: `next` of one page is `after` of the next. It names its list, so that one of another list is refused."""

from __future__ import annotations

from littoral.errors import BadInput

MOST = 1_000
"""Things of one page."""


def cursor(of: str, behind: str) -> str:
    """The place behind a thing, in the list `of` things; "": there is no next page."""
    return f"{of}:{behind}" if behind else ""


def behind(of: str, after: str) -> str:
    """What `cursor` was given. Raises BadInput where it is of another list."""
    if not after:
        return ""
    list_name, colon, rest = after.partition(":")
    if not colon or list_name != of or not rest:
        raise BadInput(f"after: {after[:80]!r} is no place in this list", hint=f"give `next` of the page before, like {of}:...")
    return rest
