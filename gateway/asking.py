"""Statuses asked for: of any box from the API of its page (docs/api.md), of this machine's from there, too, where it
answers.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from gateway import status, tls
from gateway.clock import Clock
from gateway.config.sections import Tls
from gateway.errors import LinkError, UsageError
from gateway.watching import Look

_ANSWER = aiohttp.ClientTimeout(total=5.0)


class Api:
    """Asks pages for their state, as whoever has `token`; `ca` is the file of their certificate, or its authority's."""

    def __init__(self, session: aiohttp.ClientSession, token: str, ca: Path | None) -> None:
        self._session, self._ca = session, ca
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def status(self, address: str) -> Mapping[str, Any]:
        """The status of the box whose page is at `address`. Raises LinkError and UsageError as Look does."""
        url = f"{address.rstrip('/')}/api/v1/state"
        try:
            async with self._session.get(
                url, headers=self._headers, ssl=self._tls(address), timeout=_ANSWER, allow_redirects=False
            ) as response:
                told = await response.json(content_type=None)
                refusal = "" if response.status == 200 else str(told["detail"])
                found = told.get("status")
        except aiohttp.InvalidURL:
            raise UsageError(f"--url {address} is no address", "Give http://HOST:PORT/") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise UsageError(_distrust(error.certificate_error, address)) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise LinkError(f"{address} does not answer ({_why(error)})") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise LinkError(f"{address} does not answer as a box does") from None
        if response.status in (401, 403, 421):
            raise UsageError(f"{address} refuses: {refusal}", "Give --token, or SPECTROPHONE_TOKEN")
        if refusal or not isinstance(found, dict):
            raise LinkError(f"{address} has no state to show: {refusal or 'it tells none'}")
        return {**found, "age_s": 0.0}

    def _tls(self, address: str) -> ssl.SSLContext | bool:
        if self._ca is None:
            return True
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.load(made, Tls(ca=self._ca), "-")
        return made


def remote(api: Api, address: str) -> Look:
    """The box whose page is at `address`."""

    async def look() -> Sequence[Mapping[str, Any]]:
        return [await api.status(address)]

    return look


def local(api: Api, directory: Path, clock: Clock) -> Look:
    """The gateways of this machine: what the page of each says, and its status file where that says nothing."""

    async def look() -> Sequence[Mapping[str, Any]]:
        return [await fresher(each) for each in status.read(directory, clock.utc_ns())]

    async def fresher(known: Mapping[str, Any]) -> Mapping[str, Any]:
        address = known.get("page", {}).get("address")
        if not address:
            return known
        try:
            return await api.status(address)
        except LinkError:
            return known

    return look


def _distrust(error: Exception, address: str) -> str:
    why = (
        tls.fault(error, address) if isinstance(error, ssl.SSLError) else f"the certificate of {address} is of another"
    )
    by_name = why.replace("Name the one it bears in tls.server_name", "Ask it by the one it bears")
    return by_name.replace("tls.ca", "--ca")


def _why(error: BaseException) -> str:
    """The system's word for it, else the kind of error."""
    number = getattr(error, "errno", None) or getattr(getattr(error, "os_error", None), "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else type(error).__name__
