"""Pages of a list: `next` of one page is `after` of the next. It names its list, so that one of another list is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from littoral.errors import BadInput

T = TypeVar("T")
S = TypeVar("S")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """`next`: `after` of the next page; empty: this is the last."""

    items: tuple[T, ...]
    next: str = ""


def page_of(
    things: Iterable[S],
    key: Callable[[S], str],
    shown: Callable[[S], T],
    *,
    of: str,
    after: str,
    limit: int,
    descending: bool = False,
) -> Page[T]:
    """The first `limit` things behind a place, in the order of their keys.

    Args:
        key: of one thing, and of no other.
        shown: what the page has of a thing.
        of: the list's name.

    Raises BadInput where `after` is a place of another list.
    """
    start = behind(of, after)
    keyed = [(key(each), each) for each in things]
    if start:
        keyed = [each for each in keyed if (each[0] < start if descending else each[0] > start)]
    rest = sorted(keyed, key=lambda each: each[0], reverse=descending)
    items = tuple(shown(each) for _, each in rest[:limit])
    return Page(items=items, next=cursor(of, rest[limit - 1][0]) if len(rest) > limit else "")


def moment_key(at: float, id: str) -> str:
    """The key of things in the order of a time; seconds since 1970-01-01 UTC."""
    return f"{at:018.6f}.{id}"
