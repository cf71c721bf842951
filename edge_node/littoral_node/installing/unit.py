"""The systemd unit, each line with its reason: the unit's comments and the table in docs/install.md are these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    section: str
    key: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit depends on.

    `user` "": root's own. `home_python`: the interpreter lies in a home. `devices`: cameras and accelerators are seen.
    """

    command: Path
    data: Path
    user: str
    memory_max: str = "512M"
    home_python: bool = False
    devices: bool = False

    def lines(self) -> Iterator[Line]:
        """In order of the file."""
        yield Line("Unit", "Description", "Littoral node", "")
        yield Line("Unit", "Documentation", "man:systemd.service(5)", "")
        yield Line("Unit", "After", "network.target", "not network-online: a node serves what it has without a network")
        yield Line("Unit", "StartLimitIntervalSec", "0", "never gives up, however often it had to start again")
        yield from self._life()
        yield from self._limits()
        yield from self._files()
        yield from self._kernel()
        yield Line("Install", "WantedBy", "multi-user.target", "starts with the machine")

    def text(self) -> str:
        """The file."""
        out, section = ["# Written by `littoral-node install`; settings are in node.toml in the data folder."], ""
        for line in self.lines():
            if line.section != section:
                section = line.section
                out.append(f"\n[{section}]")
            if line.reason:
                out.append(f"# {line.reason}")
            out.append(f"{line.key}={line.value}")
        return "\n".join(out) + "\n"

    def _life(self) -> Iterator[Line]:
        run = f'"{self.command}" run --data "{self.data}"'.replace("%", "%%")
        yield Line("Service", "Type", "notify", "it is started once it answers requests, not before")
        yield Line("Service", "NotifyAccess", "main", "no child speaks for it")
        yield Line("Service", "ExecStart", run, "")
        if self.user:
            yield Line("Service", "User", self.user, "nothing it does needs root")
        yield Line(
            "Service", "WatchdogSec", "60", "it says twice in that time that it answered a request; else it is ended and started"
        )
        yield Line("Service", "Restart", "always", "whatever it ended with")
        yield Line(
            "Service",
            "RestartSec",
            "1",
            "a crash is over within two seconds; no RestartSteps: their pauses grow over a whole life, not over one bad hour",
        )
        yield Line("Service", "TimeoutStartSec", "300", "a slow card and a large model")
        yield Line("Service", "TimeoutStopSec", "60", "requests that it has are answered first")
        yield Line("Service", "KillMode", "mixed", "SIGTERM to the agent alone: it ends its own children")
        yield Line("Service", "Environment", "PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1", "its environment is read-only")

    def _limits(self) -> Iterator[Line]:
        yield Line(
            "Service", "MemoryMax", self.memory_max, "the agent stays under 100 MB; the rest is for models and measuring them"
        )
        yield Line("Service", "OOMPolicy", "continue", "a candidate that takes too much dies alone, in its own process")
        yield Line("Service", "TasksMax", "256", "threads and children; a bound on a runtime that runs wild")
        yield Line("Service", "LimitCORE", "0", "a crash does not fill the disk")

    def _files(self) -> Iterator[Line]:
        yield Line("Service", "ProtectSystem", "strict", "everything is read-only to it")
        yield Line("Service", "ReadWritePaths", f'"{self.data}"'.replace("%", "%%"), "but this one folder")
        yield Line("Service", "UMask", "0077", "keys and models are nobody else's to read")
        yield Line("Service", "PrivateTmp", "yes", "a /tmp of its own, gone with it")
        hidden = ("read-only", "its Python lies in a home") if self.home_python else ("yes", "homes are not there")
        yield Line("Service", "ProtectHome", *hidden)
        if self.devices:
            yield Line("Service", "PrivateDevices", "no", "asked for with --devices: accelerators and cameras are seen")
            yield Line("Service", "SupplementaryGroups", "video render", "who may use them")
        else:
            yield Line("Service", "PrivateDevices", "yes", "no disks, cameras or accelerators; --devices opens them")

    def _kernel(self) -> Iterator[Line]:
        yield Line("Service", "NoNewPrivileges", "yes", "no setuid program gives it more than it has")
        yield Line("Service", "CapabilityBoundingSet", "", "none of root's powers, even as root; ports below 1024 are not for it")
        yield Line("Service", "AmbientCapabilities", "", "")
        yield Line("Service", "ProtectProc", "invisible", "other users' processes are not seen")
        yield Line("Service", "ProcSubset", "all", "/proc/cpuinfo and /proc/meminfo say what this machine is")
        for key, reason in (
            ("ProtectClock", "the clock is not its own to set"),
            ("ProtectHostname", "nor the machine's name"),
            ("ProtectKernelLogs", ""),
            ("ProtectKernelModules", ""),
            ("ProtectKernelTunables", "/proc/sys and /sys can be read (battery, heat, cgroups), not written"),
            ("ProtectControlGroups", ""),
            ("RestrictNamespaces", "no container inside"),
            ("RestrictRealtime", "it cannot take the processor from others"),
            ("RestrictSUIDSGID", ""),
            ("LockPersonality", ""),
            ("RemoveIPC", ""),
        ):
            yield Line("Service", key, "yes", reason)
        yield Line("Service", "MemoryDenyWriteExecute", "yes", "none of its runtimes writes code at run time")
        yield Line(
            "Service",
            "RestrictAddressFamilies",
            "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
            "the cloud, its clients, systemd's own socket, the kernel's word of power",
        )
        yield Line("Service", "SystemCallArchitectures", "native", "no 32-bit calls on a 64-bit kernel")
        yield Line("Service", "SystemCallFilter", "@system-service", "what services call")
        yield Line("Service", "SystemCallFilter", "~@privileged", "less what only root may")
        yield Line("Service", "SystemCallErrorNumber", "EPERM", "a library that tries gets an error, not a signal")
