"""The systemd unit, each line with its reason: for the unit's comments and the table in docs/install.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

_Row = tuple[str, str, str]
"""Key, value and reason of a line."""


@dataclass(frozen=True, slots=True)
class Line:
    section: str
    key: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class SystemdUnit:
    """The values in a unit.

    `user` "": root. `home_python`: the interpreter lies in a home folder. `devices`: the agent sees cameras and accelerators.
    """

    command: Path
    data: Path
    user: str
    memory_max: str = "512M"
    home_python: bool = False
    devices: bool = False

    def lines(self) -> Iterator[Line]:
        """In the order of the file."""
        yield Line("Unit", "Description", "Littoral node", "")
        yield Line("Unit", "Documentation", "man:systemd.service(5)", "")
        yield Line("Unit", "After", "network.target", "not network-online: a node serves what it has without a network")
        yield Line("Unit", "StartLimitIntervalSec", "0", "restarts without end")
        for row in chain(self._life(), self._limits(), self._files(), self._kernel()):
            yield Line("Service", *row)
        yield Line("Install", "WantedBy", "multi-user.target", "starts with the machine")

    def text(self) -> str:
        """The file's content."""
        out, section = ["# Written by `littoral-node install`; settings are in node.toml in the data folder."], ""
        for line in self.lines():
            if line.section != section:
                section = line.section
                out.append(f"\n[{section}]")
            if line.reason:
                out.append(f"# {line.reason}")
            out.append(f"{line.key}={line.value}")
        return "\n".join(out) + "\n"

    def _life(self) -> Iterator[_Row]:
        run = f'"{self.command}" run --data "{self.data}"'.replace("%", "%%")
        yield "Type", "notify", "the unit counts as started when the agent answers requests"
        yield "NotifyAccess", "main", "ignores notifications of child processes"
        yield "ExecStart", run, ""
        if self.user:
            yield "User", self.user, "the agent needs no root"
        yield "WatchdogSec", "60", "the agent reports twice in this time that it answered a request; else systemd restarts it"
        yield "Restart", "always", "after every exit"
        yield (
            "RestartSec",
            "1",
            "two seconds from a crash to a new agent; no RestartSteps: their pauses would grow over the unit's whole life",
        )
        yield "TimeoutStartSec", "300", "time for a slow SD card and a large model"
        yield "TimeoutStopSec", "60", "time to answer the requests that came before"
        yield "KillMode", "mixed", "SIGTERM to the agent alone, which ends its children"
        yield "Environment", "PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1", "no byte code: its environment is read-only"

    def _limits(self) -> Iterator[_Row]:
        yield "MemoryMax", self.memory_max, "the agent needs less than 100 MB; the rest is for models and their measurement"
        yield "OOMPolicy", "continue", "a candidate that takes too much memory dies alone, in its own process"
        yield "TasksMax", "256", "bounds the threads and children of a faulty runtime"
        yield "LimitCORE", "0", "no core dumps that fill the disk"

    def _files(self) -> Iterator[_Row]:
        yield "ProtectSystem", "strict", "all folders are read-only"
        yield "ReadWritePaths", f'"{self.data}"'.replace("%", "%%"), "except this one"
        yield "UMask", "0077", "other users cannot read keys and models"
        yield "PrivateTmp", "yes", "its own /tmp, removed at its end"
        hidden = ("read-only", "its Python lies in a home folder") if self.home_python else ("yes", "hides home folders")
        yield ("ProtectHome", *hidden)
        if self.devices:
            yield "PrivateDevices", "no", "--devices: shows accelerators and cameras"
            yield "SupplementaryGroups", "video render", "the groups of their users"
        else:
            yield "PrivateDevices", "yes", "hides disks, cameras and accelerators; --devices shows them"

    def _kernel(self) -> Iterator[_Row]:
        yield "NoNewPrivileges", "yes", "setuid programs give no more rights"
        yield "CapabilityBoundingSet", "", "no capabilities, even as root; so no ports below 1024"
        yield "AmbientCapabilities", "", ""
        yield "ProtectProc", "invisible", "hides the processes of other users"
        yield "ProcSubset", "all", "/proc/cpuinfo and /proc/meminfo describe the machine"
        for key, reason in (
            ("ProtectClock", "cannot set the clock"),
            ("ProtectHostname", "cannot set the host name"),
            ("ProtectKernelLogs", ""),
            ("ProtectKernelModules", ""),
            ("ProtectKernelTunables", "reads /proc/sys and /sys (battery, heat, cgroups), never writes them"),
            ("ProtectControlGroups", ""),
            ("RestrictNamespaces", "no containers inside"),
            ("RestrictRealtime", "no real-time priority over other processes"),
            ("RestrictSUIDSGID", ""),
            ("LockPersonality", ""),
            ("RemoveIPC", ""),
        ):
            yield key, "yes", reason
        yield "MemoryDenyWriteExecute", "yes", "no runtime here generates code"
        yield (
            "RestrictAddressFamilies",
            "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
            "the cloud and clients, systemd's socket, the kernel's power events",
        )
        yield "SystemCallArchitectures", "native", "no 32-bit system calls on a 64-bit kernel"
        yield "SystemCallFilter", "@system-service", "the system calls of services"
        yield "SystemCallFilter", "~@privileged", "without those of root"
        yield "SystemCallErrorNumber", "EPERM", "a refused call returns an error instead of a signal"
