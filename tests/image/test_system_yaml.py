"""What the machine is told on its card: every part by itself, faults in sentences, passwords taken over."""

import pytest
import yaml

from tests.image.box import IMAGE, card, system_yaml

Network, System = system_yaml.Network, system_yaml.System
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG1hZGUgdXAgZm9yIGEgdGVzdA me@home"


@pytest.fixture
def zones(tmp_path):
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe/Berlin").touch()
    return tmp_path


def test_all_of_it(zones):
    text = f"""\
hostname: box-1
timezone: Europe/Berlin
ssh_authorized_keys:
  - {KEY}
wifi:
  - ssid: Home
    password: "correct horse"
    country: DE
  - ssid: "12345"
page_password: "a few words"
"""
    found, faults = system_yaml.read(text, zones)
    assert faults == []
    networks = Network("Home", "correct horse"), Network("12345")
    assert found == System("box-1", "Europe/Berlin", (KEY,), networks, "DE", "a few words")


@pytest.mark.parametrize("text", ["", "# nothing\n", "hostname:\nwifi:\n"])
def test_nothing_is_right_too(text):
    assert system_yaml.read(text) == (System(), [])


def test_the_file_on_the_card_asks_for_nothing_and_its_examples_are_right(zones):
    text = (IMAGE / "card/system.yaml").read_text()
    assert system_yaml.read(text, zones) == (System(), [])
    examples = "".join(line.removeprefix("# ") for line in text.splitlines(True)[3:] if ":" in line or "  - " in line)
    examples = "".join(
        line
        for line in examples.splitlines(True)
        if line.startswith((" ", "hostname", "timezone", "ssh", "page", "wifi"))
    )
    found, faults = system_yaml.read(examples.replace("AAAA...", "A" * 32).replace('"..."', '"1234567890"'), zones)
    assert faults == []
    assert None not in (found.hostname, found.timezone, found.ssh_authorized_keys, found.wifi, found.country)
    assert found.page_password


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("hostname: a_b", "hostname: 'a_b' is no host name"),
        ("hostname: 7", "hostname: 7 is no host name"),
        ("timezone: Mars/Base", "there is no time zone 'Mars/Base'"),
        ("timezone: ../../etc/passwd", "there is no time zone"),
        ("ssh_authorized_keys: secret", "'secret' is no public key"),
        ("ssh_authorized_keys: 5", "no list of keys"),
        ("wifi: Home", "no list of networks"),
        ("wifi: [{ssid: 5}]", "5 is no name of a network"),
        ("wifi: [{ssid: Home, password: short}]", "has 5 letters. It needs 8 to 63"),
        ("wifi: [{ssid: Home, country: Germany}]", "'Germany' is no country"),
        ("wifi: [{ssid: Home, pasword: abcdefgh}]", "there is no 'pasword'"),
        ("page_password: short", "page_password: it has 5 characters. It needs 10 to 256"),
        ("page_password: [a, b, c, d, e]", "page_password: it has"),
        ("hostnam: box", "hostnam: there is no such setting. Known: hostname, timezone"),
    ],
)
def test_a_fault_leaves_the_rest(zones, line, says):
    rest = "timezone: Europe/Berlin\n" if "timezone" not in line else "hostname: box-1\n"
    found, faults = system_yaml.read(f"{line}\n{rest}", zones)
    assert len(faults) == 1
    assert says in faults[0]
    assert faults[0].startswith("system.yaml: ")
    assert found in (System(timezone="Europe/Berlin"), System(hostname="box-1"))


@pytest.mark.parametrize(
    ("text", "says"), [("a: [", "system.yaml:1: this is no YAML"), ("- a\n", "these are no settings")]
)
def test_what_is_no_mapping_is_told(text, says):
    found, faults = system_yaml.read(text)
    assert found == System()
    assert says in faults[0]


def test_norway_is_a_country():
    assert system_yaml.read("wifi: [{ssid: Home, country: NO}]")[0].country == "NO"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_editors_text_is_read(encoding, end):
    assert card.decoded(f"a: ü{end}b: 1{end}".encode(encoding)) == "a: ü\nb: 1\n"


def test_a_password_is_not_shown():
    assert "secret" not in repr(System(wifi=(Network("Home", "secret horse"),), page_password="secret horse"))


def test_passwords_become_stars_and_stars_the_password_again():
    text = 'wifi:\n  - {ssid: Home, password: "correct horse"} # mine\n'
    found, _ = system_yaml.read(text)
    clean = system_yaml.scrubbed(text, found.passwords())
    assert clean == 'wifi:\n  - {ssid: Home, password: "*************"} # mine\n'
    again, faults = system_yaml.read(clean)
    assert faults == []
    assert system_yaml.known_passwords(again.wifi, found.wifi) == (found.wifi, [])
    assert again.passwords() == set()


def test_one_password_for_two_things_becomes_stars_twice():
    text = "wifi: [{ssid: Home, password: 1234567890}]\npage_password: 1234567890\n"
    found, _ = system_yaml.read(text)
    assert system_yaml.scrubbed(text, found.passwords()) == text.replace("1234567890", "*" * 10)


def test_stars_that_nobody_knows_are_a_fault():
    networks, faults = system_yaml.known_passwords(
        (Network("Work", "********"), Network("Open")), (Network("Home", "12345678"),)
    )
    assert networks == (Network("Open"),)
    assert "'Work' is stars, and was never taken over" in faults[0]


def test_a_password_that_does_not_stand_there_as_it_is_takes_the_text_with_it():
    text = '# mine\nwifi: [{ssid: Home, password: "correct\\x20horse"}]\n'
    found, _ = system_yaml.read(text)
    assert system_yaml.scrubbed(text, found.passwords()) == "# mine\n"


def test_wpa_supplicant_is_told_names_as_numbers():
    networks = (Network('Ho"me', 'a"b#c d\\e'), Network("Raw", "0" * 64), Network("Open"))
    text = system_yaml.supplicant(networks, "DE")
    assert "country=DE\n" in text
    assert "ssid=486f226d65\n" in text
    assert 'psk="a"b#c d\\e"\n' in text
    assert f"psk={'0' * 64}\n" in text
    assert text.count("network={") == text.count("\n}\n") == 3
    assert text.endswith("key_mgmt=NONE\n}\n")


def test_the_templates_are_yaml_and_say_nothing():
    for name in ("spectrophone.yaml", "secrets.yaml", "system.yaml"):
        assert yaml.safe_load((IMAGE / "card" / name).read_text()) is None
