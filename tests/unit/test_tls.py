"""What is wrong with a server's certificate, in words."""

from __future__ import annotations

import ssl

import pytest

from gateway.tls import fault


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (10, "has expired. It must be renewed there; check this box's clock too"),
        (9, "is not valid yet. Check this box's clock"),
        (62, "is for another name. Name the one it bears in tls.server_name"),
        (64, "is for another name. Name the one it bears in tls.server_name"),
        (18, "is signed by itself. Name it in tls.ca"),
        (20, "is not signed by an authority known here (because). Name its authority in tls.ca"),
    ],
)
def test_a_certificate_that_does_not_verify(code, said):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "because."
    assert fault(error, "h:443") == f"the certificate of h:443 {said}"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            "TLSV13_ALERT_CERTIFICATE_REQUIRED",
            "h:443 does not take our certificate: tlsv13 alert certificate required. ",
        ),
        ("TLSV1_ALERT_UNKNOWN_CA", "h:443 does not take our certificate: tlsv1 alert unknown ca. "),
        ("WRONG_VERSION_NUMBER", "no TLS with h:443: wrong version number. Check that it is its TLS port"),
        (None, "no TLS with h:443: protocol error. Check that it is its TLS port"),
    ],
)
def test_other_faults(reason, said):
    error = ssl.SSLError(1, "it failed")
    error.reason = reason
    assert fault(error, "h:443", "mqtt.tls").startswith(said)
