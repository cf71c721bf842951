from __future__ import annotations

import subprocess
import sys

from littoral_node.machine.memory import clean_file_mappings, code_mappings

SMAPS = """\
7f0000000000-7f0000010000 r-xp 00000000 fe:00 12                         /usr/lib/libone.so
Rss:                  64 kB
Anonymous:             0 kB
7f0000010000-7f0000020000 r--p 00010000 fe:00 12                         /usr/lib/libone.so
Rss:                  64 kB
Anonymous:             8 kB
7f0000020000-7f0000030000 rw-p 00020000 fe:00 12                         /usr/lib/libone.so
Rss:                  64 kB
Anonymous:             0 kB
7f0000030000-7f0000040000 r--p 00000000 00:00 0
Rss:                  64 kB
Anonymous:             0 kB
7f0000040000-7f0000050000 r-xp 00000000 00:00 0                          [vdso]
Rss:                  64 kB
Anonymous:             0 kB
7f0000050000-7f0000060000 r-xp 00000000 fe:00 13                         /usr/lib/libtwo.so (deleted)
Rss:                  64 kB
Anonymous:             0 kB
7f0000060000-7f0000080000 r--p 00000000 fe:00 14                         /usr/lib/a name.so
Rss:                 128 kB
Anonymous:             0 kB
"""


def test_only_clean_unwritable_pages_of_files_are_dropped() -> None:
    assert list(clean_file_mappings(SMAPS)) == [(0x7F0000000000, 0x10000), (0x7F0000060000, 0x20000)]


def test_of_all_mappings_code_of_files_is_found_at_once() -> None:
    assert list(code_mappings(SMAPS)) == [(0x7F0000000000, 0x10000)]


def test_a_process_goes_on_working_after_it_gave_memory_back_and_is_smaller() -> None:
    code = (
        "import numpy, onnxruntime, grpc\n"
        "from pathlib import Path\n"
        "from littoral_node.machine.memory import give_back, settle\n"
        "def held(): return int(Path('/proc/self/statm').read_text().split()[1])\n"
        "begun = held(); give_back(); given = held(); settle(); settled = held(); settle()\n"
        "assert numpy.ones(10).sum() == 10 and onnxruntime.get_available_providers() and grpc.__version__\n"
        "assert settled < given < begun, (begun, given, settled)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
