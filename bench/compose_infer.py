"""Runs inside a node's container: ask every model that is ready for an answer, over HTTP on loopback. Used by compose_check.sh.

Open Inference Protocol v2, with the standard library alone. Exit code 0: at least one model is ready, and each gave scores.
"""

from __future__ import annotations

import json
import math
import os
import sys
import urllib.request
from typing import Any

BASE = "http://" + os.environ.get("LITTORAL_NODE_HTTP", "127.0.0.1:8080")
TIMEOUT_S = 10


def call(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        return json.loads(answer.read() or b"{}")


def main(models: list[str]) -> int:
    for model in models:
        call(f"/v2/models/{model}/ready")
        about = call(f"/v2/models/{model}")
        inputs = []
        for wanted in about["inputs"]:
            shape = [max(1, int(size)) for size in wanted["shape"]]
            inputs.append(
                {"name": wanted["name"], "datatype": wanted["datatype"], "shape": shape, "data": [0] * math.prod(shape)}
            )
        [scores, *_] = call(f"/v2/models/{model}/infer", {"inputs": inputs})["outputs"]
        print(f"{model} {about.get('versions', [''])[0][:19]}: {len(scores['data'])} scores")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["digits"]))
