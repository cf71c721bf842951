"""Loads a function of the operator's own, package.module:function: a teacher or a metric."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from littoral import type_words
from littoral.errors import BadInput, NotFound


def imported(path: str, what: str = "teacher.function") -> Callable[..., Any]:
    """The function at package.module:function; `what` is how messages call it.

    The working folder comes last in the search, so that it hides nothing.

    Raises NotFound or BadInput, naming what was found instead.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), *name.split("."))):
        raise BadInput(f"{what}: {path!r} is not of the form package.module:function")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise BadInput(f"{what}: importing {module_name} failed: {error}") from error
        raise NotFound(f"{what}: there is no module {error.name!r}", hint="run from its folder, or set PYTHONPATH") from error
    except (Exception, SystemExit) as error:
        raise BadInput(f"{what}: importing {module_name} failed: {type(error).__name__}: {error}") from error
    where = getattr(found, "__file__", None) or module_name
    for part in name.split("."):
        if not hasattr(found, part):
            public = [known for known in vars(found) if not known.startswith("_")] if hasattr(found, "__dict__") else []
            raise NotFound(f"{what}: {where} has no {part!r}", hint=type_words.nearest(part, public) or "look at its name")
        found = getattr(found, part)
    if not callable(found):
        raise BadInput(f"{what}: {path} is a {type(found).__name__} and cannot be called")
    function: Callable[..., Any] = found
    return function
