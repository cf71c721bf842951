"""littoral-cloud audit archive in a process that kills itself after a step: python -m tests.kit.dying_archiver STEP FOLDER"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from littoral_cloud.app import audit_archive
from littoral_cloud.cli import execute
from littoral_cloud.commands import audit
from littoral_cloud.trust.audit_archive import ArchiveStep, AuditArchive

step, data_dir = ArchiveStep(sys.argv[1]), sys.argv[2]


def passed(now: ArchiveStep, _: object) -> None:
    if now is step:
        os.kill(os.getpid(), signal.SIGKILL)


def dying(core: Any, to: Path | None = None) -> AuditArchive:
    return replace(audit_archive(core, to), passed=passed)


audit.audit_archive = dying  # type: ignore[attr-defined]
sys.exit(execute(["audit", "archive", "--before", "2999-01-01", "--data-dir", data_dir]))
