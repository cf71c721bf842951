"""docs/reference/settings.md: the settings of the coordinator and of the agent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields

from littoral_cloud import settings as cloud
from littoral_node.config import settings as node
from littoral_node.config.descriptions import DESCRIPTIONS
from pages.markdown import NOTICE, code, table

HEAD = f"""\
# Settings

{NOTICE}
A flag overrides the environment variable, which overrides the default. An unknown variable with such a prefix is an error."""
CLOUD = """\
## littoral-cloud

For the coordinator and every `littoral-cloud` command; [cli.md](cli.md) lists the flags."""
NODE = """\
## littoral-node run

In `node.toml` of the data folder the name is the key; the file comes before the default and after the environment."""
COLUMNS = ("name", "environment", "default", "meaning")


def page() -> str:
    agent = (
        (code(name), code(node.PREFIX + name.upper()), DESCRIPTIONS[name].default, DESCRIPTIONS[name].meaning)
        for name in node.KNOWN
    )
    return "\n\n".join([HEAD, CLOUD, table(COLUMNS, _cloud()), NODE, table(COLUMNS, agent)]) + "\n"


def _cloud() -> Iterator[tuple[str, str, str, str]]:
    for field in fields(cloud.CloudSettings):
        default = "see meaning" if field.default is MISSING else _shown(field.default)
        yield code(field.name), code(cloud.PREFIX + field.name.upper()), default, field.metadata["meaning"]


def _shown(value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
