"""What each setting of `littoral-node run` means: for its help and for docs/reference/settings.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Description(NamedTuple):
    """`default`: in words, as an operator would write it."""

    metavar: str
    meaning: str
    default: str


DESCRIPTIONS: Mapping[str, Description] = {
    "budget": Description(
        "LIMITS", "The limits of one model, like artifact<=20KB,p95<=2ms,rss<=8MB,worst>=97%,runtime=ncnn.", "no limits"
    ),
    "budgets": Description(
        "LIST", "Budgets and quotas of single models, like 'digits: quota=50%,p95<=2ms; faces: rss<=8MB,disk<=2MB'.", "none"
    ),
    "runtimes": Description("NAMES", "The runtimes to use, separated by commas.", "every runtime that this machine has"),
    "providers": Description(
        "NAMES",
        "Where models may run, the best first: of tensorrt,cuda,coreml,vulkan,cpu.",
        "all but tensorrt that this machine has",
    ),
    "threads": Description("N", "The threads of one inference; at most the CPUs of the cgroup.", "1"),
    "inference_limit": Description("TIME", "The time limit of one inference; a longer one counts as a hang and is ended.", "30s"),
    "http": Description("HOST:PORT", "The address for inference over HTTP; port 0: any free port.", "127.0.0.1:8080"),
    "grpc": Description("HOST:PORT", "The address for inference over gRPC; off: none.", "HTTP's host, and the port after HTTP's"),
    "batch": Description("N", "At most N examples of waiting requests go through a model together; 1: never together.", "32"),
    "requests": Description("N", "At most N requests wait or run at a time, over all models.", "256"),
    "memory": Description("SIZE", "The memory for all models together; their quotas split it.", "no limit"),
    "disk": Description("SIZE", "The disk space for the artifacts of all models, with those to go back to.", "no limit"),
    "token_file": Description(
        "FILE", "The file with the token that clients beyond loopback must send; needed to listen there.", "none"
    ),
    "tls_cert": Description("FILE", "The TLS certificate for clients beyond loopback, PEM.", "the node makes one"),
    "tls_key": Description("FILE", "The key of --tls-cert, PEM.", "none"),
    "allow_load": Description("on|off", "Let clients beyond loopback load and unload models.", "off"),
    "labelled": Description(
        "DIR",
        "The folder of labelled examples (.npz with x and y), to judge new models and to take part in federated runs.",
        "none",
    ),
    "measure_lock": Description("PATH", "A lock file for all nodes of one machine: one node measures at a time.", "none"),
    "max_download_rate": Description("RATE", "The speed limit of downloads, like 200KB/s.", "no limit"),
    "keep_free": Description("SIZE", "The disk space that downloads leave free.", "16MB"),
    "battery_low": Description("PERCENT", "The battery is low below this level.", "20%"),
    "hot_at": Description("DEGREES", "The machine is hot above this temperature, like 80C.", "the kernel's own limit"),
    "metered": Description("WHETHER", "Whether the network is paid by the byte: yes, no, or auto to ask the machine.", "auto"),
    "on_battery_low": Description(
        "LIMITS", "Limits that replace those of the budget while the battery is low, like artifact<=20KB,p95<=1ms.", "none"
    ),
    "on_battery": Description("LIMITS", "Limits that replace those of the budget without mains power.", "none"),
    "on_hot": Description("LIMITS", "Limits that replace those of the budget while the machine is hot.", "none"),
    "on_metered": Description("LIMITS", "Limits that replace those of the budget on a metered network.", "none"),
    "machine_root": Description("DIR", "The folder that holds the machine's sys, proc, dev and run, for simulations.", "/"),
    "defer": Description(
        "LIST",
        "What an update waits for, as long as its rollout allows: of battery_low,on_battery,hot,metered,busy,training; or never.",
        "battery_low,busy,training",
    ),
    "update_window": Description(
        "WINDOW", "When the node takes updates, in its time zone, like 'Mon-Fri 01:00-05:00; Sat,Sun'.", "at any time"
    ),
    "time_zone": Description("NAME", "The time zone of --update-window, like Europe/Berlin.", "the machine's"),
    "offload": Description(
        "LIST",
        "By model, the confidence below which the node asks the cloud's teacher, like 'digits=60%, faces=0.5'.",
        "the node never asks",
    ),
    "offload_per_minute": Description("N", "At most N questions to the cloud's teacher each minute.", "10"),
    "offload_bytes_per_day": Description("SIZE", "At most these bytes of questions and answers each day.", "5MB"),
    "offload_deadline": Description("TIME", "The node gives its own answer when the teacher takes longer.", "1s"),
    "offload_on_metered": Description("WHETHER", "Ask on a metered network too: yes or no.", "no"),
    "offload_samples": Description("SIZE", "The disk space for questions and answers that the node records.", "1MB"),
    "offload_keep_inputs": Description("WHETHER", "Record the inputs of questions too: yes or no.", "no"),
}
