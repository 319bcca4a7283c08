"""What the gateway and a zygote say to each other, in MessagePack: one message a packet (AF_UNIX, SOCK_SEQPACKET)."""

from __future__ import annotations

from msgspec import Struct

from gateway.scripts.confine.confine import Plan

LONGEST = 64 * 1024
"""Bytes of a message."""


class _Control(Struct, array_like=True, forbid_unknown_fields=True, frozen=True, tag=True):
    """An array of the class's name and the fields."""


class Spawn(_Control, frozen=True):
    """Fork a worker behind these walls. Three descriptors come along: its channel, the broker's, and its output.

    `modules` of the standard library are imported first; `paths` are put in front of its sys.path; `group` is the
    directory of its control group, empty where it has none; a worker of two processes (Plan.processes) can have none.
    """

    id: int
    plan: Plan
    modules: list[str]
    paths: list[str]
    group: str = ""


class Born(_Control, frozen=True):
    """The worker `id` is process `pid`; a pidfd comes along."""

    id: int
    pid: int


class Stillborn(_Control, frozen=True):
    """There is no worker `id`, and why."""

    id: int
    reason: str


class Ended(_Control, frozen=True):
    """The worker `id` has ended and is reaped: its exit status, or -N for signal N."""

    id: int
    status: int


FromZygote = Born | Stillborn | Ended
