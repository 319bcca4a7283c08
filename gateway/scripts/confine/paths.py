"""What a worker must see of the machine so that Python can still load its own parts after the walls are up."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def interpreter_paths(*, network: bool = False) -> tuple[str, ...]:
    """The standard library, the shared libraries beneath its modules, the time zones; for TLS the machine's CAs.

    No site-packages of a virtual environment is among them: the gateway's own holds far more than a script needs, and
    what the zygote has loaded needs no file. Whoever wants a package loaded later adds its directory to Plan.readonly.
    Where a Python keeps site-packages inside its standard library, as one built from source does, those are visible.
    """
    machine = getattr(sys.implementation, "_multiarch", "")
    library = Path(sys.base_prefix, "lib")
    found = {sysconfig.get_path("stdlib"), "/usr/local/lib"}
    found.add(sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix}))
    if machine and Path("/usr/lib", machine).is_dir():
        found |= {f"/lib/{machine}", f"/usr/lib/{machine}"}
    else:
        found |= {"/lib", "/lib64", "/usr/lib", "/usr/lib64"}
    found |= {"/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo"}
    found |= {f"{library}/{name.name}" for name in library.glob("libpython*.so*")}
    if network:
        found |= {"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted"}
        found |= {"/usr/lib/ssl", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates"}
    return tuple(sorted(path for path in found if path and Path(path).exists()))
