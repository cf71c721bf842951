"""The command lines of `littoral-node infer` and `watch`."""

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
from littoral_node.client.error_output import print_error


def add_command(nouns: Any, name: str, text: str, example: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """`text`: what it does; `example`: a command line."""
    made: argparse.ArgumentParser = nouns.add_parser(
        name, parents=parents, help=text, description=text, epilog=f"Example: {example}"
    )
    return made


def add_commands(nouns: Any) -> None:
    """Adds `infer` and `watch` to the commands of `littoral-node`."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--format", choices=("text", "json"), default="text", help="Output format. Default: text.")
    common.add_argument("--data", type=Path, metavar="DIR", help="The node's data folder; it holds the node's address.")
    common.add_argument(
        "--http", default="", metavar="HOST:PORT", help="The node's address. Default: the address in its data folder."
    )
    common.add_argument("--token-file", type=Path, metavar="FILE", help="The file with the token of a node beyond loopback.")
    common.add_argument(
        "--certificate-sha256",
        default="",
        metavar="HEX",
        help="The certificate of a node beyond loopback. Default: the one in its data folder.",
    )
    common.add_argument(
        "--model",
        default="",
        metavar="NAME|DIR",
        help="A served model, or the folder of an artifact, which needs no node. Default: the only model that is served.",
    )
    common.add_argument("--top", type=int, default=3, metavar="K", help="How many classes to print. Default: 3.")

    example = "littoral-node infer photo.jpg other.png --top 3"
    infer = add_command(nouns, "infer", "Print what the served model predicts for files.", example, common)
    infer.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="An image (PNG, JPEG, WebP, BMP, TIFF, AVIF, PGM, PPM, NPY) or rows of numbers (NPY, JSON, CSV).",
    )

    example = "littoral-node watch /srv/camera --results /srv/camera.jsonl --sort /srv/sorted"
    watch = add_command(nouns, "watch", "Predict every image that arrives in a folder, once.", example, common)
    watch.add_argument("folder", type=Path, metavar="FOLDER", help="The folder to watch, without its subfolders.")
    watch.add_argument(
        "--results", type=Path, metavar="FILE", help="Write a line of JSON for each image. Default: FOLDER/results.jsonl."
    )
    watch.add_argument("--sort", type=Path, metavar="DIR", help="Move each image to DIR/CLASS. Default: images stay.")
    watch.add_argument(
        "--max-results", default="64MB", metavar="SIZE", help="Rename FILE to FILE.1 when it is larger. Default: 64MB."
    )
    watch.add_argument(
        "--settle", type=float, default=0.5, metavar="S", help="Read an image that did not change for S seconds. Default: 0.5."
    )
    watch.add_argument(
        "--give-up",
        type=float,
        default=10.0,
        metavar="S",
        help="Set an image aside that cannot be read and did not change for S seconds. Default: 10.",
    )
    watch.add_argument("--once", action="store_true", help="End when every image in the folder has its line.")


def infer(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Returns the exit code of the first file that failed; 0 where none did."""
    from littoral_node.client.address import client_of
    from littoral_node.client.files import examples
    from littoral_node.client.node import ArtifactClient
    from littoral_node.client.predictions import predictions_of

    if parsed.top < 1:
        raise BadInput(f"--top: {parsed.top} names no class", hint="1 prints the likeliest class alone")
    client = client_of(parsed, environment)
    found: list[dict[str, Any]] = []
    code = 0
    try:
        info = client.model_info()
        if isinstance(client, ArtifactClient) and client.unsigned:
            sys.stderr.write("littoral-node: the artifact's signature was not checked: no node's keys can be read here\n")
        for path in parsed.files:
            try:
                values = examples(path, info)
                predictions = predictions_of(info, client.ask(info, values), len(values), parsed.top)
            except FleetError as error:
                code = code or error.exit_code
                found.append({"file": str(path), "error": error.as_dict()})
                if parsed.format == "text":
                    print_error(error, parsed.format)
                continue
            several = len(predictions) > 1
            found += [{"file": str(path), **({"row": i} if several else {}), **p.as_dict()} for i, p in enumerate(predictions)]
            if parsed.format == "text":
                for i, prediction in enumerate(predictions):
                    print(f"{path}{f'[{i}]' if several else ''}: {prediction}", flush=True)
    finally:
        client.close()
    if parsed.format == "json":
        print(json.dumps({"model": info.model, "version": info.version, "predictions": found}), flush=True)
    return code


def watch(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from littoral_node.client.address import client_of
    from littoral_node.client.folder_watch import FolderWatch
    from littoral_node.config.values import parse_size

    if parsed.top < 1 or parsed.settle < 0 or parsed.give_up < 0:
        raise BadInput(
            "--top, --settle, --give-up: --top must be at least 1, the others at least 0", hint="leave them out for the defaults"
        )
    folder = parsed.folder.expanduser().absolute()
    if not folder.is_dir():
        raise BadInput(f"FOLDER: {folder} is no folder", hint="make it first")
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())

    def report(line: Mapping[str, Any]) -> None:
        print(json.dumps(line) if parsed.format == "json" else _text(line), flush=True)

    client = client_of(parsed, environment)
    watching = FolderWatch(
        folder,
        client,
        results=(parsed.results or folder / "results.jsonl").expanduser().absolute(),
        sorted_to=parsed.sort.expanduser().absolute() if parsed.sort else None,
        max_results=parse_size(parsed.max_results, "--max-results"),
        settle_s=parsed.settle,
        give_up_s=parsed.give_up,
        top=parsed.top,
        report=report,
    )
    try:
        watching.run(stop, once=parsed.once)
    finally:
        client.close()
    return 0


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Mapping[str, str]], int]] = {"infer": infer, "watch": watch}


def _text(line: Mapping[str, Any]) -> str:
    """A line of results or an event, for people."""
    if "event" in line:
        return " ".join(str(part) for part in (line["event"], line.get("detail", "")) if part)
    if "error" in line:
        return f"{line['file']}: set aside: {line['error']['message']}"
    if "top" in line:
        return f"{line['file']}: " + ", ".join(f"{each['label']} {each['confidence']:.1%}" for each in line["top"])
    return f"{line['file']}: {json.dumps(line.get('values', line.get('predictions')))[:200]}"
