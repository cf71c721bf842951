"""The words of `littoral-node infer` and `watch`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from littoral.errors import BadInput, FleetError
from littoral_node.client.complaint import complain

_EXAMPLES = {
    "infer": "example: littoral-node infer photo.jpg other.png --top 3",
    "watch": "example: littoral-node watch /srv/camera --results /srv/camera.jsonl --sort /srv/sorted",
}


def add_commands(nouns: Any) -> None:
    """Adds both to `littoral-node`'s own."""
    asked = argparse.ArgumentParser(add_help=False)
    asked.add_argument("--format", choices=("text", "json"), default="text", help="how to print (default text)")
    asked.add_argument("--data", type=Path, metavar="DIR", help="the node's folder, which says where it answers")
    asked.add_argument("--http", default="", metavar="HOST:PORT", help="where the node answers, if its folder cannot be read")
    asked.add_argument("--token-file", type=Path, metavar="FILE", help="for a node that listens beyond loopback")
    asked.add_argument("--certificate-sha256", default="", metavar="HEX", help="of such a node; its folder says it, too")
    asked.add_argument(
        "--model", default="", metavar="NAME|DIR", help="which, where several are served; or an artifact's folder, without a node"
    )
    asked.add_argument("--top", type=int, default=3, metavar="K", help="how many classes to name (default 3)")

    infer = nouns.add_parser(
        "infer", parents=[asked], help="ask the model that is served here about files", epilog=_EXAMPLES["infer"]
    )
    infer.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="PNG, JPEG, WebP, BMP, TIFF, AVIF, PGM, PPM, NPY; rows: NPY, JSON, CSV",
    )

    watch = nouns.add_parser(
        "watch", parents=[asked], help="ask about every image that arrives in a folder", epilog=_EXAMPLES["watch"]
    )
    watch.add_argument("folder", type=Path, metavar="FOLDER", help="where images arrive; folders in it are not looked into")
    watch.add_argument(
        "--results", type=Path, metavar="FILE", help="a line of JSON for each image (default FOLDER/results.jsonl)"
    )
    watch.add_argument("--sort", type=Path, metavar="DIR", help="move each image to DIR/CLASS")
    watch.add_argument("--max-results", default="64MB", metavar="SIZE", help="then FILE becomes FILE.1 (default 64MB)")
    watch.add_argument(
        "--settle", type=float, default=0.5, metavar="S", help="an image is whole when it has not changed so long (default 0.5)"
    )
    watch.add_argument(
        "--give-up", type=float, default=10.0, metavar="S", help="and broken when it still cannot be read then (default 10)"
    )
    watch.add_argument("--once", action="store_true", help="end when everything that is there is done")


def infer(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from littoral_node.client.answers import answers_of
    from littoral_node.client.files import examples
    from littoral_node.client.node import Folder
    from littoral_node.client.place import oracle_of

    if parsed.top < 1:
        raise BadInput(f"--top: {parsed.top} names no class", hint="1: the likeliest alone")
    oracle = oracle_of(parsed, environment)
    found: list[dict[str, Any]] = []
    code = 0
    try:
        about = oracle.about()
        if isinstance(oracle, Folder) and oracle.unsigned:
            sys.stderr.write("littoral-node: the artifact's signature was not checked: no node's keys can be read here\n")
        for path in parsed.files:
            try:
                values = examples(path, about)
                answers = answers_of(about, oracle.ask(about, values), len(values), parsed.top)
            except FleetError as error:
                code = code or error.exit_code
                found.append({"file": str(path), "error": error.as_dict()})
                if parsed.format == "text":
                    complain(error, parsed.format)
                continue
            found += [
                {"file": str(path), **({"row": i} if len(answers) > 1 else {}), **a.as_dict()} for i, a in enumerate(answers)
            ]
            if parsed.format == "text":
                for i, answer in enumerate(answers):
                    print(f"{path}{f'[{i}]' if len(answers) > 1 else ''}: {answer}", flush=True)
    finally:
        oracle.close()
    if parsed.format == "json":
        print(json.dumps({"model": about.model, "version": about.version, "answers": found}), flush=True)
    return code


def watch(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from littoral_node.client.place import oracle_of
    from littoral_node.client.watching import Watch
    from littoral_node.config.values import parse_size

    if parsed.top < 1 or parsed.settle < 0 or parsed.give_up < 0:
        raise BadInput(
            "--top, --settle, --give-up: must not be negative, and one class at least is named",
            hint="leave them out for the defaults",
        )
    folder = parsed.folder.expanduser().absolute()
    if not folder.is_dir():
        raise BadInput(f"FOLDER: {folder} is no folder", hint="make it first")
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())

    def say(line: Mapping[str, Any]) -> None:
        print(json.dumps(line) if parsed.format == "json" else _words(line), flush=True)

    oracle = oracle_of(parsed, environment)
    watching = Watch(
        folder,
        oracle,
        results=(parsed.results or folder / "results.jsonl").expanduser().absolute(),
        sorted_to=parsed.sort.expanduser().absolute() if parsed.sort else None,
        max_results=parse_size(parsed.max_results, "--max-results"),
        settle_s=parsed.settle,
        give_up_s=parsed.give_up,
        top=parsed.top,
        say=say,
    )
    try:
        watching.run(stop, once=parsed.once)
    finally:
        oracle.close()
    return 0


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Mapping[str, str]], int]] = {"infer": infer, "watch": watch}


def _words(line: Mapping[str, Any]) -> str:
    if "event" in line:
        return " ".join(str(part) for part in (line["event"], line.get("detail", "")) if part)
    if "error" in line:
        return f"{line['file']}: set aside: {line['error']['message']}"
    if "top" in line:
        return f"{line['file']}: " + ", ".join(f"{each['label']} {each['confidence']:.1%}" for each in line["top"])
    return f"{line['file']}: {json.dumps(line['values'])[:200]}"
