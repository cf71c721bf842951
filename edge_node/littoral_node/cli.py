"""The command littoral-node. Uses argparse alone: a serving agent must not load more."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path

from littoral import __version__, streams
from littoral.environment import of_operators
from littoral.errors import BadInput, FleetError, NoSpace, NotFound, Untrusted, is_full
from littoral.one_arena import use_one_arena
from littoral_node.client import cli as client
from littoral_node.client.error_output import print_error
from littoral_node.config.descriptions import DESCRIPTIONS
from littoral_node.config.settings import KNOWN, PREFIX, given_settings, settings_from, written_down
from littoral_node.identity.files import write_json
from littoral_node.identity.folder import NodeFolder
from littoral_node.installing import arguments as installing


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="littoral-node",
        description="The agent of one machine: downloads, checks and serves its models.",
        epilog="Example: littoral-node run --data /var/lib/littoral --budget 'artifact<=100KB,p95<=2ms'",
    )
    parser.add_argument("--version", action="version", version=f"littoral-node {__version__}", help="Print the version.")
    nouns = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, metavar="DIR", help=f"The node's data folder. [{PREFIX}DATA]")
    common.add_argument("--format", choices=("text", "json"), default="text", help="Output format. Default: text.")

    def command(name: str, text: str, example: str) -> argparse.ArgumentParser:
        return client.add_command(nouns, name, text, f"littoral-node {example}", common)

    enroll = command("enroll", "Join a fleet.", "enroll littoral-join-1.WyJjb... --data /var/lib/littoral --name gateway")
    enroll.add_argument(
        "join_line", nargs="?", metavar="JOIN_LINE", help=f"The line that `littoral-cloud token create` printed. [{PREFIX}JOIN]"
    )
    enroll.add_argument("--join-file", type=Path, metavar="PATH", help="The file with the join line.")
    enroll.add_argument("--name", metavar="NAME", help=f"The node's name. Default: the cloud draws one. [{PREFIX}NAME]")
    enroll.add_argument("--force", action="store_true", help="Enrol again, as another node.")

    example = "run --data /var/lib/littoral --budget 'artifact<=20KB' --http 127.0.0.1:8080"
    run = command("run", "Serve models, and follow the fleet's releases.", example)
    for name in KNOWN:
        metavar, meaning, default = DESCRIPTIONS[name]
        text = f"{meaning} Default: {default}. [{PREFIX}{name.upper()}]".replace("%", "%%")
        run.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=text)

    example = "prepare-image --data /var/lib/littoral --join-file line --yes"
    prepare = command("prepare-image", "Remove this node's identity, before an image of the disk is made.", example)
    prepare.add_argument(
        "join_line", nargs="?", metavar="JOIN_LINE", help=f"Enrols each machine at its first start. [{PREFIX}JOIN]"
    )
    prepare.add_argument("--join-file", type=Path, metavar="PATH", help="The file with the join line.")
    prepare.add_argument("--yes", action="store_true", help="Remove it: this machine is no node any more.")
    command("doctor", "Check this node and its connection to the cloud.", "doctor --data /var/lib/littoral")
    client.add_commands(nouns)
    installing.add_commands(nouns)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Prints errors to standard error; the exit code is the error's."""
    if arguments is None:
        streams.prepare()
    sys.exit(streams.exit_status(lambda: _execute(arguments)))


def _execute(arguments: Sequence[str] | None) -> int:
    form = "text"
    try:
        parsed = build_parser().parse_args(arguments)
        form = parsed.format
        return _COMMANDS[parsed.command](parsed, of_operators(os.environ))
    except SystemExit as ended:  # argparse printed the help, the version or an error
        return int(ended.code or 0)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except FleetError as error:
        known = error
    except PermissionError as error:
        known = BadInput(
            f"{error.filename or 'a file'}: {error.strerror}", hint="run this as the user that the node runs as, or with sudo"
        )
    except OSError as error:
        if not is_full(error):
            raise
        known = NoSpace(f"{error.filename or 'disk'}: {error.strerror}", hint="make room there, then again")
    print_error(known, form)
    return known.exit_code


def _folder(parsed: argparse.Namespace, environment: Mapping[str, str]) -> NodeFolder:
    place = parsed.data or (Path(environment[f"{PREFIX}DATA"]) if environment.get(f"{PREFIX}DATA") else None)
    if place is None:
        raise BadInput("--data: is missing", hint=f"name the node's folder, or set {PREFIX}DATA")
    return NodeFolder(place.expanduser().absolute())


def _enroll(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    text, fields = _joined(_folder(parsed, environment), parsed, environment)
    _print(parsed.format, text, **fields)
    return 0


def _joined(folder: NodeFolder, parsed: argparse.Namespace, environment: Mapping[str, str]) -> tuple[str, dict[str, object]]:
    """What became of it, in words and in fields."""
    comes_back = None
    if folder.enrolled() and not parsed.force and (comes_back := _key_of_one_that_comes_back(folder)) is None:
        identity = folder.identity()
        if parsed.name is not None and parsed.name != identity.node_name:
            sys.stderr.write(f"littoral-node: stays {identity.node_name!r}, not {parsed.name!r}; --force enrols it anew\n")
        text = f"already enrolled as {identity.node_name} ({identity.node_id})"
        return text, {"node_id": identity.node_id, "node_name": identity.node_name, "enrolled_before": True}
    from littoral.identity import JoinLine
    from littoral_node.certificates.enrol import enrol
    from littoral_node.machine.hardware import profile
    from littoral_node.machine.hardware_ids import hardware_ids
    from littoral_node.machine.wire import hardware_to
    from littoral_node.runtimes import facts

    if not (text := installing.join_line_of(parsed, environment)):
        raise BadInput(
            "JOIN_LINE: is missing", hint=f"paste what `littoral-cloud token create` printed, or --join-file, or {PREFIX}JOIN"
        )
    line = JoinLine.parse(text)

    def retrying(error: FleetError, after_s: float) -> None:
        again = {"error": error.as_dict(), "again_in_s": round(after_s, 1)}
        line = json.dumps(again) if parsed.format == "json" else f"littoral-node: {error}; again in {after_s:.0f} s"
        sys.stderr.write(f"{line}\n")

    folder.prepare()
    name = parsed.name if parsed.name is not None else environment.get(f"{PREFIX}NAME", "")
    # A running agent on the folder continues to serve, and takes the new certificate.
    with nullcontext() if comes_back else folder.claimed():
        identity = asyncio.run(
            enrol(
                folder,
                line,
                name=name,
                hardware=hardware_to(profile(folder.root, facts())),
                now=time.time(),  # noqa: TID251 - the command line is where the clock comes in
                monotonic=time.monotonic,
                key_pem=comes_back,
                hardware_ids=hardware_ids(),
                rng=random.Random(),  # noqa: S311 - how long to wait, no secret
                retrying=retrying,
            )
        )
    if name and not comes_back and identity.node_name != name:
        sys.stderr.write(f"littoral-node: {name!r} is taken in this fleet: the node is called {identity.node_name!r}\n")
    if comes_back:
        text = f"{identity.node_name} ({identity.node_id}) is back, with a new certificate"
    else:
        text = f"enrolled as {identity.node_name} ({identity.node_id}); next: littoral-node run --data {folder.root}"
    return text, {"node_id": identity.node_id, "node_name": identity.node_name, "enrolled_before": comes_back is not None}


def _key_of_one_that_comes_back(folder: NodeFolder) -> bytes | None:
    """The key of an enrolled node that needs a new certificate; None where it needs none.

    Raises Untrusted where the key is lost: no join line brings it back as the same node.
    """
    from littoral.identity import is_node_key
    from littoral_node.certificates.asking import refused
    from littoral_node.identity.identity import life_of

    now = time.time()  # noqa: TID251 - the command line is where the clock comes in
    identity = folder.look().identity
    if identity is not None and not life_of(identity.certificate_pem).soon(now):
        if not (why := asyncio.run(refused(identity))):
            return None
        sys.stderr.write(f"littoral-node: the cloud does not accept this node's certificate: {why}\n")
    key = identity.key_pem if identity is not None else folder.key()
    if key is None or not is_node_key(key):
        raise Untrusted(
            f"{folder.root}: key.pem is damaged, and so is its copy: it cannot come back as the node that it was",
            hint="enrol it with --force: it becomes another node",
        )
    return key


def _run(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    folder = _folder(parsed, environment)
    given = given_settings(folder.root, {name: getattr(parsed, name) for name in KNOWN}, environment)
    settings = settings_from(folder.root, given)
    _enroll_at_first_start(folder, parsed, environment)
    folder.look(serves=True)  # first of all: `run` on a folder without enrolment leaves no files
    folder.prepare()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: else it starts a thread for every core of the host
    use_one_arena()  # before any thread
    from littoral_node.agent import Agent
    from littoral_node.supervision.log import Log
    from littoral_node.supervision.notify import Notifier

    notify = Notifier.from_environment(os.environ, os.getpid())
    log = Log(time.time, as_json=parsed.format == "json")  # noqa: TID251 - the command line is where the clock comes in

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")

    async def serve() -> None:
        agent = Agent(folder, settings, log, notify)
        node = agent.certificate.node_name

        def ready(where: Mapping[str, str]) -> None:
            try:
                write_json(folder.serving, {**where, "settings": written_down(given)})
            except OSError as error:  # a full disk: it serves all the same; `infer` and `watch` need --http
                log("place-not-written", path=str(folder.serving), detail=str(error))
            with streams.unheard():
                _print(
                    parsed.format,
                    " ".join(["ready", *(f"{name}={value}" for name, value in {**where, "node": node}.items())]),
                    ready=True, **where, node=node, node_id=agent.certificate.node_id,
                )  # fmt: skip

        await agent.run(ready)

    with folder.claimed():
        with suppress(OSError):  # a disk that takes no write
            folder.serving.unlink(missing_ok=True)  # of the agent before, with other settings
        asyncio.run(serve())
    return 0


def _prepare_image(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from littoral.identity import JoinLine
    from littoral_node.identity.image import own_parts, wipe

    folder = _folder(parsed, environment)
    line = installing.join_line_of(parsed, environment)
    if line:
        JoinLine.parse(line)
    if not folder.root.is_dir():
        raise NotFound(f"--data {folder.root}: there is no such folder", hint="name the node's folder")
    found = ", ".join(part.name for part in own_parts(folder)) or "nothing"
    if not parsed.yes:
        raise BadInput(f"--yes: is missing; of {folder.root} goes: {found}", hint="with --yes this machine is no node any more")
    with folder.claimed():
        gone = wipe(folder, line)
    at_first = "enrols itself at its first start" if line else "is enrolled by hand"
    text = f"{folder.root} holds no node any more; each machine from this image {at_first}"
    _print(parsed.format, text, removed=gone, join_line=bool(line))
    return 0


def _enroll_at_first_start(folder: NodeFolder, parsed: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """A machine that starts from an image (littoral_node.identity.image)."""
    if folder.enrolled() or not folder.join_line.exists():
        return
    given = argparse.Namespace(join_line=None, join_file=folder.join_line, name=None, force=False, format=parsed.format)
    text, _ = _joined(folder, given, environment)
    sys.stderr.write(f"littoral-node: {text}\n")
    folder.join_line.unlink()


def _doctor(parsed: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from littoral_node.client.doctor import examine, exit_code

    now = time.time()  # noqa: TID251 - the command line is where the clock comes in
    findings = asyncio.run(examine(_folder(parsed, environment), environment, now=now))
    if parsed.format == "json":
        sys.stdout.write(json.dumps({"findings": [asdict(finding) for finding in findings]}) + "\n")
    else:
        sys.stdout.writelines(f"{finding}\n" for finding in findings)
    return exit_code(findings)


def _print(form: str, text: str, **fields: object) -> None:
    sys.stdout.write((json.dumps(fields) if form == "json" else text) + "\n")
    sys.stdout.flush()


_COMMANDS = {
    "enroll": _enroll,
    "run": _run,
    "prepare-image": _prepare_image,
    "doctor": _doctor,
    **client.COMMANDS,
    **installing.COMMANDS,
}


if __name__ == "__main__":
    main()
