"""The options of https_callback, and what Retry-After and a server's words become."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.actions import https_callback
from gateway.actions.https_callback import KIND, LONGEST_QUOTE, LONGEST_WAIT_S, HttpsCallbackSettings
from gateway.actions.payload import body, payload
from gateway.actions.settings import with_drivers
from gateway.config.document import parse
from gateway.config.settings import Settings
from gateway.config.validate import validate
from gateway.journal.entry import Entry

NOW_NS = 1_795_000_000_000_000_000


class Node(Settings):
    """Where the driver stands in a configuration."""

    parameters: with_drivers({"https_callback": KIND})


def fault(config: str) -> str:
    """The only fault that `check` finds in the driver's options, as it prints it."""
    text = f"parameters: {{monitored_nodes: [co2], driver: {{type: https_callback, config: {{{config}}}}}}}"
    _, faults = validate(parse(text, "box.yaml", {}), Node)
    (one,) = faults
    return f"{one.message}. {one.remedy}"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            "callback_url: 'https://me:sesame@example.org/'",
            "user and password stand in the URL. Put them into auth_token: !secret name",
        ),
        (
            "callback_url: 'http://192.168.1.2/'",
            "callback_url is http://: all could be read on the way. Use https://, or allow_http: true",
        ),
        (
            "callback_url: 'http://localhost/', tls: {}",
            "tls is given, but callback_url is http://. Use https://, or take tls out",
        ),
        (
            "callback_url: 'https://h/', verify_ssl: false, tls: {ca: ca.pem}",
            "tls.ca is given, but verify_ssl is false. Take verify_ssl out",
        ),
        (
            "callback_url: 'https://h/', auth_header: 'X Token'",
            "this is not the name of a header. Use letters, digits and -",
        ),
        ("callback_url: 'https://h/', headers: {Host: x}", "the header Host is not free. Leave it out"),
        (
            "callback_url: 'https://h/', auth_token: Bearer sesame, headers: {authorization: Basic sesame}",
            "Authorization is given by auth_token and in headers. Take one out",
        ),
        (
            'callback_url: "https://h/", auth_token: "sesame\\n"',
            "the token has characters that no header carries. Take line breaks and letters beyond ASCII out",
        ),
        (
            "callback_url: 'https://h/', headers: {X-Key: sésame}",
            "the header X-Key has characters that no header carries. Take line breaks and letters beyond ASCII out",
        ),
        ("callback_url: 'https://h/', timeout_ms: 99", "99 is too low. Give at least 100 and at most 120000 ms"),
    ],
)
def test_faults_say_what_is_wrong_and_show_no_secret(config, said):
    assert fault(config) == said


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://h/",
        "https:///path",
        "https://h:99999/",
        "https://h/a\\nb",
        "https://[/",
        "https://a..b/",
    ],
)
def test_what_is_no_url_of_a_web_server(url):
    assert fault(f'callback_url: "{url}"') == "this is not the URL of a web server. Write https://HOST/PATH"


def test_retry_count_of_the_original_is_an_unknown_option():
    assert fault("callback_url: 'https://h/', retry_count: 3").startswith("unknown option 'retry_count'")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_http_is_for_this_machine_or_where_it_is_allowed(host):
    assert HttpsCallbackSettings(callback_url=f"http://{host}:80/").callback_url
    assert HttpsCallbackSettings(callback_url="http://192.168.1.2/", allow_http=True).allow_http
    with pytest.raises(ValidationError):
        HttpsCallbackSettings(callback_url="http://localhost.example.org/")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("86401", LONGEST_WAIT_S),
        ("9" * 5000, LONGEST_WAIT_S),
        (formatdate(NOW_NS / 1e9 + 90, usegmt=True), 90.0),
        (formatdate(NOW_NS / 1e9 + 90, localtime=False), 90.0),
        (formatdate(NOW_NS / 1e9 - 90, usegmt=True), 0.0),
        (formatdate(NOW_NS / 1e9 + 1e6, usegmt=True), LONGEST_WAIT_S),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_a_day(text, seconds):
    assert https_callback._retry_after_s(text, NOW_NS) == seconds


@given(st.text(max_size=40))
def test_retry_after_of_any_text_is_a_wait_or_none(text):
    wait = https_callback._retry_after_s(text, NOW_NS)
    assert wait is None or 0 <= wait <= LONGEST_WAIT_S


@given(st.text(max_size=500))
def test_a_quote_is_one_short_line_that_can_be_printed(text):
    quote = https_callback._quote(text)
    assert len(quote) <= LONGEST_QUOTE
    assert quote.isprintable()


def test_a_body_holds_the_payloads_in_order():
    batch = [Entry(n, 0, "measurement", "co2", {"kind": "measurement", "ppm": 1.5, "name": "µ"}) for n in (3, 4)]
    assert json.loads(body(batch, "box1")) == {
        "schema": "spectrophone/1",
        "box": "box1",
        "entries": [payload(entry, "box1") for entry in batch],
    }
