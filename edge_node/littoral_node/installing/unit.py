"""The systemd unit, each line with its reason: for the unit's comments and the table in docs/install.md."""

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
        yield from self._life()
        yield from self._limits()
        yield from self._files()
        yield from self._kernel()
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

    def _life(self) -> Iterator[Line]:
        run = f'"{self.command}" run --data "{self.data}"'.replace("%", "%%")
        yield Line("Service", "Type", "notify", "the unit counts as started when the agent answers requests")
        yield Line("Service", "NotifyAccess", "main", "ignores notifications of child processes")
        yield Line("Service", "ExecStart", run, "")
        if self.user:
            yield Line("Service", "User", self.user, "the agent needs no root")
        yield Line(
            "Service",
            "WatchdogSec",
            "60",
            "the agent reports twice in this time that it answered a request; else systemd restarts it",
        )
        yield Line("Service", "Restart", "always", "after every exit")
        yield Line(
            "Service",
            "RestartSec",
            "1",
            "two seconds from a crash to a new agent; no RestartSteps: their pauses would grow over the unit's whole life",
        )
        yield Line("Service", "TimeoutStartSec", "300", "time for a slow SD card and a large model")
        yield Line("Service", "TimeoutStopSec", "60", "time to answer the requests that came before")
        yield Line("Service", "KillMode", "mixed", "SIGTERM to the agent alone, which ends its children")
        yield Line(
            "Service", "Environment", "PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1", "no byte code: its environment is read-only"
        )

    def _limits(self) -> Iterator[Line]:
        yield Line(
            "Service",
            "MemoryMax",
            self.memory_max,
            "the agent needs less than 100 MB; the rest is for models and their measurement",
        )
        yield Line("Service", "OOMPolicy", "continue", "a candidate that takes too much memory dies alone, in its own process")
        yield Line("Service", "TasksMax", "256", "bounds the threads and children of a faulty runtime")
        yield Line("Service", "LimitCORE", "0", "no core dumps that fill the disk")

    def _files(self) -> Iterator[Line]:
        yield Line("Service", "ProtectSystem", "strict", "all folders are read-only")
        yield Line("Service", "ReadWritePaths", f'"{self.data}"'.replace("%", "%%"), "except this one")
        yield Line("Service", "UMask", "0077", "other users cannot read keys and models")
        yield Line("Service", "PrivateTmp", "yes", "its own /tmp, removed at its end")
        hidden = ("read-only", "its Python lies in a home folder") if self.home_python else ("yes", "hides home folders")
        yield Line("Service", "ProtectHome", *hidden)
        if self.devices:
            yield Line("Service", "PrivateDevices", "no", "--devices: shows accelerators and cameras")
            yield Line("Service", "SupplementaryGroups", "video render", "the groups of their users")
        else:
            yield Line("Service", "PrivateDevices", "yes", "hides disks, cameras and accelerators; --devices shows them")

    def _kernel(self) -> Iterator[Line]:
        yield Line("Service", "NoNewPrivileges", "yes", "setuid programs give no more rights")
        yield Line("Service", "CapabilityBoundingSet", "", "no capabilities, even as root; so no ports below 1024")
        yield Line("Service", "AmbientCapabilities", "", "")
        yield Line("Service", "ProtectProc", "invisible", "hides the processes of other users")
        yield Line("Service", "ProcSubset", "all", "/proc/cpuinfo and /proc/meminfo describe the machine")
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
            yield Line("Service", key, "yes", reason)
        yield Line("Service", "MemoryDenyWriteExecute", "yes", "no runtime here generates code")
        yield Line(
            "Service",
            "RestrictAddressFamilies",
            "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
            "the cloud and clients, systemd's socket, the kernel's power events",
        )
        yield Line("Service", "SystemCallArchitectures", "native", "no 32-bit system calls on a 64-bit kernel")
        yield Line("Service", "SystemCallFilter", "@system-service", "the system calls of services")
        yield Line("Service", "SystemCallFilter", "~@privileged", "without those of root")
        yield Line("Service", "SystemCallErrorNumber", "EPERM", "a refused call returns an error instead of a signal")
