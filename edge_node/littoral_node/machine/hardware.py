"""The hardware of this machine, read once, at start. The functions that parse are pure."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from littoral_node.machine.accelerators import Accelerator, accelerators
from littoral_node.machine.conditions import batteries
from littoral_node.machine.energy import Counter, counters
from littoral_node.machine.runtime_facts import RuntimeFacts

_CGROUPS = Path("sys/fs/cgroup")
ISA_OF_FLAGS = (
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "neon",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
"""Flags of /proc/cpuinfo that change what a runtime can do. "asimd" is what 64-bit ARM calls NEON."""


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """The fields of littoral.fleet.v1.HardwareProfile."""

    machine: str
    cpu_model: str
    cpu_millis: int
    isa: tuple[str, ...]
    memory_bytes: int
    storage_free_bytes: int
    operating_system: str
    libc: str
    runtimes: tuple[tuple[str, str], ...]  # name, version
    hardware_class: str
    threads: int = 1  # of one inference
    accelerators: tuple[Accelerator, ...] = ()
    energy_counters: tuple[Counter, ...] = ()
    has_battery: bool = False
    facts: tuple[tuple[str, RuntimeFacts], ...] = ()  # of each of the runtimes

    @property
    def runtime_names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.runtimes)


def profile(data_dir: Path, runtimes: Mapping[str, RuntimeFacts], *, threads: int = 1, root: Path = Path("/")) -> HardwareProfile:
    """Of this process: what the cgroup and the affinity mask leave it, not what the host has.

    Args:
        data_dir: a folder that exists, on the disk whose free space counts.
        runtimes: by name, those that can be used here.
        threads: of one inference.
        root: below which the files of its accelerators, batteries and energy counters lie.
    """
    cpuinfo = _read(Path("/proc/cpuinfo"))
    found = HardwareProfile(
        machine=platform.machine(),
        cpu_model=cpu_model(cpuinfo),
        cpu_millis=cpu_millis(),
        isa=isa(cpuinfo),
        memory_bytes=memory_bytes(),
        storage_free_bytes=shutil.disk_usage(data_dir).free,
        operating_system=f"{platform.system().lower()} {platform.release()}",
        libc=" ".join(part for part in platform.libc_ver() if part),
        runtimes=tuple(sorted((name, found.version) for name, found in runtimes.items())),
        hardware_class="",
        threads=threads,
        accelerators=accelerators(root),
        energy_counters=counters(root),
        has_battery=bool(batteries(root)),
        facts=tuple(sorted(runtimes.items(), key=lambda item: item[0])),
    )
    return replace(found, hardware_class=class_of(found))


def threads_allowed(root: Path = Path("/")) -> int:
    """Threads that an inference may use: whole CPUs of the cgroup's limit, at least one."""
    return max(1, cpu_millis(root) // 1000)


def inference_threads(asked: int, root: Path = Path("/")) -> int:
    """The threads of the settings, at most what the cgroup allows: two threads on one CPU wait for each other."""
    return min(asked, threads_allowed(root))


def class_of(profile: HardwareProfile) -> str:
    """16 hex digits: equal for machines on which the same artifact costs the same, as far as a profile can tell.

    Free space and the kernel's version are left out, memory counts in whole GiB. Battery, heat and network are
    conditions, and no part of it; an accelerator counts where a runtime uses it.
    """
    kind = [
        profile.machine,
        profile.cpu_model,
        profile.cpu_millis,
        sorted(profile.isa),
        math.ceil(profile.memory_bytes / 2**30),
        profile.operating_system.split()[0],
        profile.libc,
        sorted(profile.runtimes),
        *([{"threads": profile.threads}] if profile.threads != 1 else []),
        *([accelerated] if (accelerated := [[name, f.devices] for name, f in profile.facts if f.devices != ("cpu",)]) else []),
    ]
    return hashlib.sha256(json.dumps(kind).encode()).hexdigest()[:16]


def cpu_model(cpuinfo: str) -> str:
    """From /proc/cpuinfo; on ARM boards the board's own name, else what part numbers there are."""
    fields = _cpu_fields(cpuinfo)
    for name in ("model name", "Model", "Hardware"):
        if fields.get(name):
            return fields[name]
    parts = [fields[name] for name in ("CPU implementer", "CPU part") if name in fields]
    return " ".join(parts) or "unknown"


def isa(cpuinfo: str) -> tuple[str, ...]:
    """Of ISA_OF_FLAGS, those that the first CPU has; sorted."""
    fields = _cpu_fields(cpuinfo)
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return tuple(sorted(flags & set(ISA_OF_FLAGS)))


def _cpu_fields(cpuinfo: str) -> dict[str, str]:
    """The first value of each name."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def cpu_limit_v2(cpu_max: str) -> int | None:
    """Thousandths of a CPU, of cgroup v2's cpu.max ("200000 100000" or "max 100000"); None: no limit, or 0."""
    quota, _, period = cpu_max.strip().partition(" ")
    return cpu_limit_v1(quota, period)


def cpu_limit_v1(quota_us: str, period_us: str) -> int | None:
    """The same of cgroup v1's cpu.cfs_quota_us (-1: no limit) and cpu.cfs_period_us."""
    quota, period = quota_us.strip(), period_us.strip()
    known = quota.isdecimal() and period.isdecimal() and int(period) > 0
    return int(quota) * 1000 // int(period) or None if known else None


def memory_limit(text: str) -> int | None:
    """Bytes, of memory.max or memory.limit_in_bytes; None: no limit (v1 writes a huge number for that), or 0."""
    value = text.strip()
    return int(value) if value.isdecimal() and 0 < int(value) < 2**60 else None


def cgroup_v2_path(proc_self_cgroup: str) -> str:
    """This process's folder below /sys/fs/cgroup, from /proc/self/cgroup ("0::/path")."""
    return next((line[3:].strip().lstrip("/") for line in proc_self_cgroup.splitlines() if line.startswith("0::")), "")


def cpu_millis(root: Path = Path("/")) -> int:
    """Thousandths of a CPU that affinity and the cgroups leave this process; `root`: below which /proc and /sys lie."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [cpu_limit_v2(text) for text in _cgroup_files(root, "cpu.max")]
    v1 = root / _CGROUPS / "cpu"
    limits.append(cpu_limit_v1(_read(v1 / "cpu.cfs_quota_us"), _read(v1 / "cpu.cfs_period_us")))
    return min([affinity * 1000, *(limit for limit in limits if limit)])


def memory_bytes(root: Path = Path("/")) -> int:
    """Of this machine, or what the cgroups leave this process of it; `root`: below which /proc and /sys lie."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [memory_limit(text) for text in _cgroup_files(root, "memory.max")]
    limits.append(memory_limit(_read(root / _CGROUPS / "memory" / "memory.limit_in_bytes")))
    return min([whole, *(limit for limit in limits if limit)])


def _cgroup_files(root: Path, name: str) -> list[str]:
    """A file's text in this process's cgroup and every one above: the tightest limit holds."""
    top = root / _CGROUPS
    here = top / cgroup_v2_path(_read(root / "proc/self/cgroup"))
    return [_read(folder / name) for folder in (here, *here.parents) if folder == top or top in folder.parents]


def _read(path: Path) -> str:
    """A file's text; empty where this machine has no such file."""
    try:
        return path.read_text()
    except OSError:
        return ""
