"""How this agent runs. A flag beats LITTORAL_NODE_..., which beats DIR/node.toml, which beats the default.

Nothing is passed over in silence: an unknown variable or key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edge_node.runtimes import REGISTRY
from edge_node.runtimes.using import SAFE, providers_from
from edge_node.store import MODEL_NAME
from littoral.budget import Budget
from littoral.errors import BadInput
from littoral.shares import REQUESTS, Whole, check_shares
from littoral.transport import is_loopback, split_address

PREFIX = "LITTORAL_NODE_"
_NOT_A_SETTING = {"JOIN", "NAME", "DATA"}  # of `enroll` and of every command: where the folder is cannot stand inside it
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*")
_SECONDS = re.compile(r"\s*([0-9]{1,5}(?:\.[0-9]{1,3})?)\s*s?\s*")
_SIZE_UNITS = {"": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of `littoral-node run`.

    `threads` are the ones that one inference may use: on a small model a second one costs more than it gives.
    `max_download_rate` is bytes a second, None: as fast as it comes.
    `on_...` are budgets while a condition holds: see edge_node.overlay and docs/fit.md.
    `providers` are of edge_node.runtimes.using.PROVIDERS.
    `keep_free` is disk space, bytes, that a download never takes.
    `inference_limit` is how long one inference may take, seconds: one that takes longer hangs, and is ended.
    `budgets` are of single models, by name: each stands in place of `budget`, and says the model's share of the whole.
    `memory` and `disk` are what all models may take together, bytes, None: unbounded; `requests` are those that are waited for or
    answered at one time.
    """

    budget: Budget = field(default_factory=Budget)
    runtimes: tuple[str, ...] = ()  # empty: every one that this machine has
    http_host: str = "127.0.0.1"
    http_port: int = 8080  # 0: any free port
    grpc: tuple[str, int] | None = ("127.0.0.1", 8081)  # None: no gRPC; where nothing is said, the port after HTTP's
    grpc_told: bool = False  # `grpc` was said
    batch: int = 32  # examples of several requests in one run; 1: never together
    token_file: Path | None = None  # the three of them: where a listener can be reached from elsewhere
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_load: bool = False
    labelled: Path | None = None
    measure_lock: Path | None = None
    max_download_rate: float | None = None
    keep_free: int = 16_000_000
    threads: int = 1
    providers: tuple[str, ...] = SAFE  # what runtimes may run on, in this order; the CPU is always the last
    inference_limit: float = 30.0
    on_battery_low: Budget = field(default_factory=Budget)  # takes the place of the same limits of `budget` while that holds
    on_battery: Budget = field(default_factory=Budget)
    on_hot: Budget = field(default_factory=Budget)
    on_metered: Budget = field(default_factory=Budget)
    battery_low: float = 20.0  # percent
    hot_at: float | None = None  # degrees Celsius; None: where the kernel says so
    metered: bool | None = None  # None: the machine is asked
    machine_root: Path = Path("/")  # below which the machine's /sys, /proc, /dev and /run lie
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    memory: int | None = None
    disk: int | None = None
    requests: int = REQUESTS
    joint: Mapping[str, float] = field(default_factory=dict)  # by model: the confidence under which the cloud's teacher is asked
    joint_per_minute: int = 10  # questions
    joint_bytes_per_day: int = 5_000_000
    joint_deadline: float = 1.0  # seconds, after which the node's own answer is given
    joint_on_metered: bool = False
    joint_hints: int = 1_000_000  # bytes on the disk
    joint_keep_inputs: bool = False

    def overlays(self) -> dict[str, Budget]:
        """By condition of edge_node.conditions, what its settings say; without those that say nothing."""
        given = {
            "battery_low": self.on_battery_low,
            "on_battery": self.on_battery,
            "hot": self.on_hot,
            "metered": self.on_metered,
        }
        return {name: budget for name, budget in given.items() if budget != Budget()}

    @property
    def whole(self) -> Whole:
        return Whole(self.memory, self.disk, self.requests)

    def node_budget(self) -> Budget:
        """The budget as the cloud is told: `runtimes` narrows it."""
        return self._narrowed(self.budget)

    def node_budgets(self) -> dict[str, Budget]:
        """By model name, as the cloud is told; "" for the models that are not named."""
        return {"": self.node_budget(), **{name: self._narrowed(budget) for name, budget in self.budgets.items()}}

    def _narrowed(self, budget: Budget) -> Budget:
        return replace(budget, runtimes=budget.runtimes or self.runtimes)


def parse_size(text: str, field: str) -> int:
    """Bytes of "200KB", "1.5MB", "4096" (KB = 1,000 bytes). Raises BadInput, naming the field."""
    match = _SIZE.fullmatch(text.lower())
    if match is None or match[2] not in _SIZE_UNITS:
        raise BadInput(f"{field}: {text!r} is not a size", hint="write a number and B, KB, MB or GB, for example 200KB")
    return round(float(match[1]) * _SIZE_UNITS[match[2]])


def _rate(text: str, field: str) -> float:
    size = parse_size(text.strip().removesuffix("/s"), field)
    if size <= 0:
        raise BadInput(f"{field}: {text!r} would never move a byte", hint="leave it out for no limit")
    return float(size)


def _batch(text: str, field: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,3}\s*", text) or not 1 <= int(text) <= 256:
        raise BadInput(f"{field}: {text!r} is not a whole number from 1 to 256", hint="1: requests are never put together")
    return int(text)


def _switch(text: str, field: str) -> bool:
    if text.strip().lower() not in ("on", "off"):
        raise BadInput(f"{field}: {text!r} is neither on nor off")
    return text.strip().lower() == "on"


def _grpc(text: str, field: str) -> tuple[str, int] | None:
    return None if text.strip().lower() == "off" else split_address(text, field)


def _threads(text: str, field: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,3}\s*", text) or not 1 <= int(text) <= 256:
        raise BadInput(f"{field}: {text!r} is not a whole number from 1 to 256")
    return int(text)


def _seconds(text: str, field: str) -> float:
    match = _SECONDS.fullmatch(text)
    if match is None or not 0.1 <= float(match[1]) <= 3_600:
        raise BadInput(f"{field}: {text!r} is not a time from 0.1s to 3600s", hint="for example 30s")
    return float(match[1])


def _requests(text: str, field: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,5}\s*", text) or not 1 <= int(text) <= 65_535:
        raise BadInput(f"{field}: {text!r} is not a whole number from 1 to 65535", hint="leave it out for the default")
    return int(text)


def _some(text: str, field: str) -> int:
    if (size := parse_size(text, field)) <= 0:
        raise BadInput(f"{field}: {text!r} would hold no model", hint="leave it out for no limit")
    return size


def _budgets(text: str, field: str) -> dict[str, Budget]:
    """Of "NAME: LIMITS; NAME: LIMITS"."""
    found: dict[str, Budget] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, colon, limits = part.partition(":")
        name = name.strip()
        if not colon or not MODEL_NAME.fullmatch(name):
            raise BadInput(f"{field}: {part!r} is not NAME: LIMITS", hint="for example 'digits: share=50%; faces: rss<=8MB'")
        if name in found:
            raise BadInput(f"{field}: {name} is named twice", hint="write all of its limits at once, by comma")
        try:
            found[name] = Budget.parse(limits)
        except BadInput as error:
            raise BadInput(f"{field}: {name}: {error.message}", hint=error.hint) from error
    return found


def _thresholds(text: str, field: str) -> dict[str, float]:
    """Of "NAME=60%, NAME=0.5"."""
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = (piece.strip() for piece in part.partition("="))
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(%?)", number)
        value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
        if not MODEL_NAME.fullmatch(name) or not 0 < value <= 1:
            raise BadInput(f"{field}: {part!r} is not NAME=CONFIDENCE", hint="for example 'digits=60%, faces=0.5'")
        found[name] = value
    return found


def _whether(text: str, field: str) -> bool:
    if text.strip().lower() not in ("yes", "no"):
        raise BadInput(f"{field}: {text!r} is neither yes nor no", hint="write yes or no")
    return text.strip().lower() == "yes"


def _names(text: str, field: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _path(text: str, field: str) -> Path:
    if not text.strip():
        raise BadInput(f"{field}: is empty")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{field}: {text!r}: {error}") from error


def _folder(text: str, field: str) -> Path:
    path = _path(text, field)
    if not path.is_dir():
        raise BadInput(f"{field}: {path} is not a folder", hint="name one that is there, or make it")
    return path


def _lock(text: str, field: str) -> Path:
    path = _path(text, field)
    if not path.parent.is_dir():
        raise BadInput(f"{field}: {path.parent} is not a folder", hint="name a file in a folder that is there")
    return path


def _runtimes(text: str, field: str) -> tuple[str, ...]:
    names = _names(text, field)
    for name in names:
        if name not in REGISTRY:
            raise BadInput(f"{field}: {name!r} is no runtime", hint=f"known are {', '.join(REGISTRY)}")
    return names


def _budget(text: str, field: str) -> Budget:
    try:
        return Budget.parse(text)
    except BadInput as error:
        raise BadInput(f"{field}: {error.message}", hint=error.hint) from error


def _percent(text: str, field: str) -> float:
    match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*%?\s*", text)
    if match is None or not 1 <= float(match[1]) <= 90:
        raise BadInput(f"{field}: {text!r} is not a percentage from 1 to 90", hint="for example 20%")
    return float(match[1])


def _celsius(text: str, field: str) -> float:
    match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*°?[cC]?\s*", text)
    if match is None or not 20 <= float(match[1]) <= 150:
        raise BadInput(f"{field}: {text!r} is not a temperature from 20 to 150 degrees Celsius", hint="for example 80C")
    return float(match[1])


def _metered(text: str, field: str) -> bool | None:
    known = {"auto": None, "yes": True, "no": False}
    if text.strip().lower() not in known:
        raise BadInput(f"{field}: {text!r} is none of auto, yes, no")
    return known[text.strip().lower()]


_READ: Mapping[str, Callable[[str, str], Any]] = {
    "budget": lambda text, field: Budget.parse(text),
    "runtimes": _runtimes,
    "http": split_address,
    "grpc": _grpc,
    "batch": _batch,
    "token_file": _path,
    "tls_cert": _path,
    "tls_key": _path,
    "allow_load": _switch,
    "labelled": _folder,
    "measure_lock": _lock,
    "max_download_rate": _rate,
    "keep_free": parse_size,
    "threads": _threads,
    "inference_limit": _seconds,
    "on_battery_low": _budget,
    "on_battery": _budget,
    "on_hot": _budget,
    "on_metered": _budget,
    "battery_low": _percent,
    "hot_at": _celsius,
    "metered": _metered,
    "machine_root": _folder,
    "budgets": _budgets,
    "memory": _some,
    "disk": _some,
    "requests": _requests,
    "providers": lambda text, field: providers_from(_names(text, field), field),
    "joint": _thresholds,
    "joint_per_minute": _requests,
    "joint_bytes_per_day": parse_size,
    "joint_deadline": _seconds,
    "joint_on_metered": _whether,
    "joint_hints": parse_size,
    "joint_keep_inputs": _whether,
}
"""What can be set, and how its text is read. The same names as flags (--max-download-rate), variables and TOML keys."""

KNOWN = tuple(_READ)


def _refuse(where: str, name: str, known: list[str]) -> BadInput:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return BadInput(f"{where}: {name!r} is not a setting", hint=f"did you mean {near[0]}? known are {', '.join(known)}")


def _from_file(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: is not TOML: {error}") from error
    given = {}
    for key, value in body.items():
        name = key.replace("-", "_")
        if name not in _READ:
            raise _refuse(str(path), key, list(KNOWN))
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = ",".join(value)
        if name == "budgets" and isinstance(value, dict):  # a table: [budgets] NAME = "LIMITS"
            value = "; ".join(f"{model}: {limits}" for model, limits in value.items())
        if name == "joint" and isinstance(value, dict):  # a table: [joint] NAME = 0.6
            value = ", ".join(f"{model}={threshold}" for model, threshold in value.items())
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise BadInput(f"{path}: {key} must be text or a number, is {type(value).__name__}")
        given[name] = str(value)
    return given


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    given = {}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX)
        if name in _NOT_A_SETTING:
            continue
        if name.lower() not in _READ or name != name.upper():
            raise _refuse("environment", variable, [PREFIX + known.upper() for known in KNOWN])
        given[name.lower()] = value
    return given


def _check_tls(settings: Settings) -> None:
    """Raises BadInput where TLS is asked for and nobody would speak it."""
    if settings.tls_cert is None and settings.tls_key is None:
        return
    if settings.tls_cert is None or settings.tls_key is None:
        raise BadInput("--tls-cert, --tls-key: one is given without the other", hint="give both, or neither")
    hosts = [settings.http_host, *([settings.grpc[0]] if settings.grpc else [])]
    if all(is_loopback(host) for host in hosts):
        raise BadInput(
            f"--tls-cert: {settings.tls_cert}: the node listens on loopback alone ({', '.join(hosts)}), where it speaks no TLS",
            hint="leave it out, or listen elsewhere with --http HOST:PORT",
        )


def load_settings(data_dir: Path, flags: Mapping[str, str | None], environment: Mapping[str, str]) -> Settings:
    """Settings from flags that are not None, the environment, DIR/node.toml and the defaults.

    Raises BadInput, naming the setting, its value and where it came from.
    """
    values: dict[str, Any] = {}
    for where, given in (
        (str(data_dir / "node.toml"), _from_file(data_dir / "node.toml")),
        ("environment", _from_environment(environment)),
        ("flag", {name: text for name, text in flags.items() if text is not None}),
    ):
        for name, text in given.items():
            origin = {"flag": f"--{name.replace('_', '-')}", "environment": PREFIX + name.upper()}.get(where, f"{where}: {name}")
            value = _READ[name](text, origin)
            if name == "http":
                values["http_host"], values["http_port"] = value
            else:
                values[name] = value
    if "grpc" in values:
        values["grpc_told"] = True
    elif "http_port" in values:
        port = values["http_port"]
        values["grpc"] = (values["http_host"], port + 1 if 0 < port < 65535 else 0)
    assert set(values) <= {f.name for f in fields(Settings)}
    settings = Settings(**values)
    check_shares(settings.whole, settings.node_budgets())
    _check_tls(settings)
    for name, overlay in settings.overlays().items():
        if overlay.share is not None or overlay.disk_bytes is not None:
            raise BadInput(f"condition {name}: {overlay} names a share", hint="shares stand in `budgets`, whatever holds")
    return settings
