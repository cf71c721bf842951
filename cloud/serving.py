"""DATA/serve.json: where the coordinator on this data folder can be reached. Light: commands read it before anything else."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from littoral.errors import BadInput

SERVE_FILE = "serve.json"


@dataclass(frozen=True, slots=True)
class Serving:
    """There for as long as the process serves. Addresses are HOST:PORT, as nodes are told them."""

    enrolment: str
    fleet: str
    pid: int

    def write(self, data_dir: Path) -> Path:
        path = data_dir / SERVE_FILE
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(asdict(self)) + "\n")
        draft.replace(path)
        return path

    @classmethod
    def read(cls, data_dir: Path) -> Serving | None:
        """None where no server runs on this folder, or where one was killed and none has followed it."""
        path = data_dir / SERVE_FILE
        try:
            body = json.loads(path.read_text())
            found = cls(str(body["enrolment"]), str(body["fleet"]), int(body["pid"]))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}: is damaged", hint="remove it and start the server again") from error
        return found if _runs(found.pid) else None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # as another user
        return True
    return True
