"""What waits for a client is little, however slowly it reads."""

from __future__ import annotations

import json

from gateway.web.stream import KEPT, Client, Stream, event


def test_of_a_state_and_of_each_job_only_the_newest_waits_and_of_the_rest_the_newest_few() -> None:
    client = Client()
    for number in range(10 * KEPT):
        client.put("state", event("state", {"n": number}))
        client.put("job sweep", event("job", {"name": "sweep", "n": number}))
        client.put("job calibration", event("job", {"name": "calibration", "n": number}))
        client.put("measurement", event("measurement", {"n": number}))
    assert client.news.is_set()
    told = [line.split("\n") for line in client.take().split("\n\n") if line]
    kinds = [kind.removeprefix("event: ") for kind, _ in told]
    assert kinds == ["measurement"] * KEPT + ["state", "job", "job"]
    numbers = [json.loads(data.removeprefix("data: "))["n"] for _, data in told]
    assert numbers == [*range(9 * KEPT, 10 * KEPT), *[10 * KEPT - 1] * 3]
    assert client.take() == ""
    assert not client.news.is_set()


def test_an_event_is_one_line_of_json_whatever_is_in_it() -> None:
    text = event("log", {"message": "a\nb\r\n\n\x00 €", "x": float("nan")})
    head, data, *rest = text.split("\n")
    assert (head, rest) == ("event: log", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == {"message": "a\nb\r\n\n\x00 €", "x": None}


def test_jobs_are_told_apart_by_their_names() -> None:
    stream, client = Stream(), Client()
    stream._clients[client] = None  # type: ignore[assignment]
    stream.put("job", {"name": "sweep"})
    stream.put("job", {"name": "calibration"})
    assert client.take().count("event: job") == 2
