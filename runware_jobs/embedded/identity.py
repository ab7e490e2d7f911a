"""As whom the engines run, and what every child process is told before it starts.

Postgres refuses to run as root. As root, both engines therefore run as `nobody`, and nothing of the system is
changed for that: no user is added, no folder opened. What `nobody` lacks is the way to a data folder, and to the
programs themselves, below a closed folder such as /root; one capability, to pass folders and to read, gives it.
Everybody else is kept out by the closed folders around data and sockets.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runware_jobs.embedded.errors import EngineFailed

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

_IS_LINUX = sys.platform == "linux"

# linux/capability.h, linux/prctl.h
_CAP_CHOWN = 0
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_CAP_SETGID = 6
_CAP_SETUID = 7
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_SECUREBITS = 28
# SECBIT_NO_SETUID_FIXUP, linux/securebits.h
_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2

_NOBODY_ID = 65534


@dataclass(frozen=True)
class Identity:
    """User and group of the engines; `capability` is the one they keep, None where the system knows none (macOS)."""

    uid: int
    gid: int
    capability: int | None

    @property
    def private_mode(self) -> int:
        """The mode of folders above the engines' own: others may pass only if the engines could not otherwise."""
        return 0o700 if self.capability is not None else 0o711


def engine_identity() -> Identity | None:
    """Decide as whom the engines run; None means as ourselves.

    Raises EngineFailed for a root that has lost the powers to become another user, as in a locked-down container.
    """
    if os.geteuid() != 0:
        return None
    capability = _capability_to_pass() if _IS_LINUX else None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Identity(uid=_NOBODY_ID, gid=_NOBODY_ID, capability=capability)
    return Identity(uid=nobody.pw_uid, gid=nobody.pw_gid, capability=capability)


def before_exec(*, death_signal: signal.Signals, identity: Identity | None = None) -> Callable[[], None]:
    """Make the function that runs in a new child before its program.

    The child takes `identity`, and on Linux gets `death_signal` when its parent dies, however the parent dies.
    Safe only in a process with one thread, which the supervisor is.
    """
    parent = os.getpid()

    def prepare() -> None:
        if identity is not None:
            _become(identity)
        # After the change of user, which clears it.
        _die_with(parent, death_signal)

    return prepare


def _capability_to_pass() -> int:
    """The weakest capability we hold that passes closed folders (containers often have only the stronger)."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - a kernel file, not a path of ours
        sets = dict(line.rstrip("\n").split(":\t", 1) for line in status if line.startswith("Cap"))
    held = int(sets["CapPrm"], 16) & int(sets["CapBnd"], 16)
    passing = [one for one in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE) if held >> one & 1]
    if not passing or not all(held >> one & 1 for one in (_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID)):
        raise EngineFailed(
            "Postgres does not run as root, and this root may not become another user (its capabilities were dropped). "
            "Run as a normal user, or set RUNWARE_JOBS_DATABASE_URL and RUNWARE_JOBS_BROKER_URL to servers of your own."
        )
    return passing[0]


def _become(identity: Identity) -> None:
    if identity.capability is not None:
        # access(2) sets capabilities aside for a user who is not root, unless told not to; initdb asks by it
        # whether it may run the programs beside it. A root without SETPCAP may not ask for this, and does
        # without it: its programs then have to lie where everybody may go.
        with contextlib.suppress(OSError):
            _prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP)
        _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(identity.gid)
    os.setuid(identity.uid)
    if identity.capability is not None:
        _keep_only(identity.capability)


def _keep_only(capability: int) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    # Two records of effective, permitted, inheritable: capabilities 0 to 31, then 32 to 63.
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if _libc().capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def _die_with(parent: int, death_signal: signal.Signals) -> None:
    if not _IS_LINUX:
        return
    _prctl(_PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent:
        # The parent died before the line above: nobody would ever tell us.
        os._exit(1)


def _prctl(option: int, *values: int) -> None:
    filled = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    if _libc().prctl(option, *filled) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


# Opened before any fork: a child between fork and exec should load nothing.
_LIBC = ctypes.CDLL(None, use_errno=True) if _IS_LINUX else None


def _libc() -> ctypes.CDLL:
    if _LIBC is None:  # only reached on Linux, where it is open
        raise OSError("no libc")
    return _LIBC
