"""Finds accelerators without any library: by the kernel's device nodes and its own files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from littoral_node.machine.conditions import entries, text

_TPU_NODE = re.compile(r"apex_[0-9]+")  # Coral, on PCIe
_NPU_NODE = re.compile(r"rknpu|ethos-u[0-9]*|hailo[0-9]+|galcore")
_RENDER_NODE = re.compile(r"renderD[0-9]+")
_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}


@dataclass(frozen=True, slots=True, order=True)
class Accelerator:
    """`kind`: "gpu", "npu" or "tpu". `device`: empty where the kernel knows it but this process sees no device node."""

    kind: str
    name: str
    device: str = ""


def accelerators(root: Path) -> tuple[Accelerator, ...]:
    """Below `root`, in order. `littoral-node doctor` shows whether a runtime can use one."""
    return tuple(sorted({*_nvidia(root), *_rendering(root), *_other(root)}))


def _nvidia(root: Path) -> list[Accelerator]:
    """By the driver's own files; by their device nodes alone where a container hides those files."""
    nodes = [entry.name for entry in entries(root / "dev") if re.fullmatch(r"nvidia[0-9]+", entry.name)]
    found = []
    for card in entries(root / "proc/driver/nvidia/gpus"):
        fields = dict(re.findall(r"^([A-Za-z ]+):[ \t]*(.*)$", text(card / "information"), re.MULTILINE))
        node = f"nvidia{fields.get('Device Minor', '').strip()}"
        found.append(Accelerator("gpu", fields.get("Model", "").strip() or "NVIDIA", f"/dev/{node}" if node in nodes else ""))
    return found or [Accelerator("gpu", "NVIDIA", f"/dev/{node}") for node in nodes]


def _rendering(root: Path) -> list[Accelerator]:
    """Render nodes, except those of NVIDIA's driver; a screen without a render node cannot compute."""
    found = []
    for entry in entries(root / "sys/class/drm"):
        if not _RENDER_NODE.fullmatch(entry.name):
            continue
        driver = _driver(entry)
        if driver == "nvidia":
            continue
        vendor, device = text(entry / "device/vendor"), text(entry / "device/device")
        name = " ".join(part for part in (_VENDORS.get(vendor, vendor), driver, device) if part) or "unknown"
        node = f"dev/dri/{entry.name}"
        found.append(Accelerator("gpu", name, f"/{node}" if (root / node).exists() else ""))
    return found


def _other(root: Path) -> list[Accelerator]:
    found = [Accelerator("tpu", "Coral", f"/dev/{e.name}") for e in entries(root / "dev") if _TPU_NODE.fullmatch(e.name)]
    found += [Accelerator("npu", e.name, f"/dev/{e.name}") for e in entries(root / "dev") if _NPU_NODE.fullmatch(e.name)]
    for entry in entries(root / "sys/class/accel"):  # the kernel's own class for them, since Linux 6.2
        driver = _driver(entry)
        node = f"dev/accel/{entry.name}"
        found.append(Accelerator("npu", driver or entry.name, f"/{node}" if (root / node).exists() else ""))
    return found


def _driver(entry: Path) -> str:
    return next((w.partition("=")[2] for w in text(entry / "device/uevent").split() if w.startswith("DRIVER=")), "")
