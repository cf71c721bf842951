"""What a machine is, from what it says about itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from littoral_node.machine.hardware import (
    HardwareProfile,
    cgroup_v2_path,
    class_of,
    cpu_limit_v1,
    cpu_limit_v2,
    cpu_millis,
    cpu_model,
    inference_threads,
    isa,
    memory_bytes,
    memory_limit,
    profile,
    threads_allowed,
)
from littoral_node.runtimes import facts

XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz
flags\t\t: fpu sse2 avx f16c fma avx2 avx512f avx512_vnni

processor\t: 1
model name\t: another
flags\t\t: fpu amx_int8
"""
ALDER_LAKE = "model name\t: 12th Gen Intel(R) Core(TM) i5-1240P\nflags\t\t: sse2 avx avx2 fma f16c avx_vnni\n"
PI_5 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Revision\t: c04170
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
ARMV7 = "processor\t: 0\nmodel name\t: ARMv7 Processor rev 4 (v7l)\nFeatures\t: half thumb vfp neon vfpv4\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("cpuinfo", "model", "sets"),
    [
        (XEON, "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", ("avx", "avx2", "avx512_vnni", "avx512f", "f16c", "fma")),
        (ALDER_LAKE, "12th Gen Intel(R) Core(TM) i5-1240P", ("avx", "avx2", "avx_vnni", "f16c", "fma")),
        (PI_5, "Raspberry Pi 5 Model B Rev 1.0", ("asimd", "asimddp")),
        (ARMV7, "ARMv7 Processor rev 4 (v7l)", ("neon",)),
        (GRAVITON, "0x41 0xd40", ("asimd", "asimddp", "i8mm", "sve")),
        ("", "unknown", ()),
    ],
)
def test_the_cpu_and_what_it_can_do(cpuinfo: str, model: str, sets: tuple[str, ...]) -> None:
    assert cpu_model(cpuinfo) == model
    assert isa(cpuinfo) == sets


@pytest.mark.parametrize(
    ("text", "millis"),
    [("200000 100000\n", 2_000), ("50000 100000", 500), ("max 100000", None), ("", None), ("5 0", None), ("x y", None)],
)
def test_the_cpu_limit_of_cgroup_v2(text: str, millis: int | None) -> None:
    assert cpu_limit_v2(text) == millis


def test_the_cpu_limit_of_cgroup_v1() -> None:
    assert cpu_limit_v1("150000\n", "100000\n") == 1_500
    assert cpu_limit_v1("-1\n", "100000\n") is None
    assert cpu_limit_v1("", "") is None


def test_the_memory_limit() -> None:
    assert memory_limit("536870912\n") == 536_870_912
    assert memory_limit("max\n") is None
    assert memory_limit("9223372036854771712\n") is None  # what cgroup v1 writes for none
    assert memory_limit("") is None


def test_the_cgroup_of_a_process() -> None:
    assert cgroup_v2_path("0::/system.slice/littoral.service\n") == "system.slice/littoral.service"
    assert cgroup_v2_path("12:cpu:/a\n0::/\n") == ""
    assert cgroup_v2_path("4:memory:/docker/1\n") == ""


@given(st.text())
@example("0")
@example("0 100000")
def test_whatever_a_kernel_writes_is_read(text: str) -> None:
    assert isinstance(cpu_model(text), str)
    assert all(isinstance(name, str) for name in isa(text))
    assert isinstance(cgroup_v2_path(text), str)
    for limit in (cpu_limit_v2(text), cpu_limit_v1(text, text), memory_limit(text)):
        assert limit is None or limit > 0


def test_the_profile_of_this_machine(tmp_path: Path) -> None:
    found = profile(tmp_path, facts())
    assert found.machine == os.uname().machine
    assert 0 < found.cpu_millis <= len(os.sched_getaffinity(0)) * 1_000
    assert 2**27 < found.memory_bytes <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert found.storage_free_bytes > 0
    assert found.operating_system.startswith("linux ")
    assert dict(found.runtimes) == {name: its.version for name, its in facts().items()}
    assert len(found.hardware_class) == 16
    int(found.hardware_class, 16)
    assert profile(tmp_path, facts()).hardware_class == found.hardware_class


def made(root: Path, files: Mapping[str, str]) -> Path:
    """A root with these files."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_threads_are_whole_cpus_of_what_this_process_may_use(tmp_path: Path) -> None:
    assert 1 <= threads_allowed() <= len(os.sched_getaffinity(0))
    quota = "sys/fs/cgroup/cpu/cpu.cfs_quota_us"
    root = made(tmp_path, {quota: "50000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"})
    assert threads_allowed(root) == 1
    assert inference_threads(4, root) == 1
    assert cpu_millis(root) == 500
    made(tmp_path, {quota: "-1"})
    assert inference_threads(1, root) == 1
    assert inference_threads(1_000, root) == threads_allowed(root) == len(os.sched_getaffinity(0))


def test_a_process_that_may_use_one_cpu_infers_with_one_thread() -> None:
    one = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    code = f"import os; {one}; from littoral_node.machine.hardware import inference_threads; print(inference_threads(8))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout.strip() == "1"


def test_the_tightest_cgroup_above_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/a/b/memory.max": "max\n",
        "sys/fs/cgroup/a/memory.max": "300000000\n",
        "sys/fs/cgroup/a/b/cpu.max": "90000 100000\n",
        "sys/fs/cgroup/a/cpu.max": "40000 100000\n",
    }
    root = made(tmp_path, files)
    assert memory_bytes(root) == 300_000_000
    assert cpu_millis(root) == 400


BASE = HardwareProfile(
    machine="x86_64",
    cpu_model="Xeon",
    cpu_millis=2_000,
    isa=("avx", "avx2"),
    memory_bytes=2**33,
    storage_free_bytes=10**9,
    operating_system="linux 6.1.0",
    libc="glibc 2.36",
    runtimes=(("ncnn", "1"), ("onnxruntime", "2")),
    hardware_class="",
)


@pytest.mark.parametrize(
    "change",
    [{"storage_free_bytes": 5}, {"operating_system": "linux 6.8.4"}, {"memory_bytes": 2**33 - 10**6}, {"isa": ("avx2", "avx")}],
    ids=str,
)
def test_what_costs_nothing_does_not_change_the_class(change: dict[str, object]) -> None:
    assert class_of(replace(BASE, **change)) == class_of(BASE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"cpu_model": "i5"}, {"cpu_millis": 500}, {"isa": ("avx",)}, {"memory_bytes": 2**31}, {"runtimes": (("ncnn", "1"),)}],
    ids=str,
)
def test_what_an_inference_depends_on_changes_it(change: dict[str, object]) -> None:
    assert class_of(replace(BASE, **change)) != class_of(BASE)  # type: ignore[arg-type]
