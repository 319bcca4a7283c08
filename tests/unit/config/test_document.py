"""Reading YAML: data, places, variables, secrets, and everything that can be wrong with a text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.document import Document, nearest, parse, read
from gateway.config.syntax import MAX_BYTES


def of(text: str, **environ: str) -> Document:
    return parse(text, "box.yaml", environ)


def told(document: Document) -> list[str]:
    return [str(fault) for fault in document.faults]


def test_every_key_and_item_has_its_place() -> None:
    document = of("a: 1\nb:\n  - x\n  - {c: 2, d: {e: 3}}\n")
    assert document.data == {"a": 1, "b": ["x", {"c": 2, "d": {"e": 3}}]}
    assert document.place(("b",)) == ("box.yaml", 2, 1)
    assert document.place(("b", 0)) == ("box.yaml", 3, 5)
    assert document.place(("b", 1, "d", "e")) == ("box.yaml", 4, 16)
    assert document.place(("b", 1, "d", "missing")) == ("box.yaml", 4, 12)
    assert document.place(("nowhere",)) == ("box.yaml", 1, 1)


def test_an_empty_text_is_an_empty_group() -> None:
    for text in ("", "\n\n", "# nothing\n", "---\n", "~\n" * 0):
        assert of(text).data == {}
        assert of(text).faults == ()


@pytest.mark.parametrize("text", ["[]", "5", "''", "- a\n- b\n"])
def test_anything_but_a_group_is_refused(text: str) -> None:
    assert "the file must hold options" in told(of(text))[0]


def test_byte_order_mark_and_carriage_returns_do_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_bytes(b"\xef\xbb\xbflaser:\r\n  duty: 0.5\r\n")
    document = read(file, {})
    assert document.data == {"laser": {"duty": 0.5}}
    assert document.place(("laser", "duty")) == (str(file), 2, 3)


def test_what_cannot_be_read_is_one_fault(tmp_path: Path) -> None:
    utf_16, large = tmp_path / "utf16.yaml", tmp_path / "large.yaml"
    utf_16.write_bytes("laser: {duty: 0.5}".encode("utf-16"))
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    expected = {
        tmp_path / "none.yaml": "there is no such file",
        tmp_path: "this is a directory",
        utf_16: "not UTF-8",
        large: "larger than 1 MiB",
        tmp_path / "nul\0.yaml": "cannot be read",
    }
    for path, part in expected.items():
        document = read(path, {})
        assert len(document.faults) == 1
        assert part in told(document)[0]
        assert told(document)[0].startswith(f"{path}:")
        assert document.is_broken(("anything",))


def test_the_place_of_a_bad_byte_is_told(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_bytes(b"a: 1\nb: stra\xdfe\n")
    assert (read(file, {}).faults[0].line, read(file, {}).faults[0].column) == (2, 8)


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ("a: 1\n\tb: 2\n", 2, 1, "a tab"),
        ("a: 'x\nb: 1\n", 1, 4, "never closed"),
        ("a: b: c\n", 1, 5, "a ':' stands where"),
        ("a: [1, 2\nb: 3\n", 2, 2, "the closing bracket is missing"),
        ("a: {b: ${X}}\n", 1, 9, "put ${NAME} in quotes"),
        ("a: 1\nb\nc: 2\n", 2, 1, "lacks its ':'"),
        ("a: *x\n", 1, 4, "anchor"),
        ('a: "\\q"\n', 1, 6, "escape"),
        ("a: 1\n---\nb: 2\n", 2, 1, "second document"),
        ("a: 1\n...\nb\n", 3, 1, "does not fit"),
        ("a: @x\n", 1, 4, "quotes"),
        ("a: \x01\n", 1, 4, "U+0001"),
        ("[" * 100, 1, 65, "nested deeper"),
        ("? [a]\n: 1\n", 1, 3, "must be plain text"),
        ("a: 1\n<<: {b: 2}\n", 2, 1, "merge keys"),
        ("a: !!python/name:os.system x\n", 1, 4, "tag !!python/name:os.system"),
        ("a: !!set {x}\n", 1, 4, "tag !!set"),
        ("a: !!binary eA==\n", 1, 4, "tag !!binary"),
        ('a: "\\ud800"\n', 1, 4, "half a character"),
        ('"\\ud800": 1\n', 1, 1, "half a character"),
        ("a: &a [*a]\n", 1, 1, "nested deeper"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "given twice, on lines 1 and 3"),
    ],
)
def test_a_fault_of_the_text_has_its_place(text: str, line: int, column: int, part: str) -> None:
    document = of(text)
    assert len(document.faults) == 1, told(document)
    fault = document.faults[0]
    assert (fault.file, fault.line, fault.column) == ("box.yaml", line, column), fault
    assert part in str(fault)
    assert fault.remedy


def test_several_faults_are_told_in_the_order_of_their_lines() -> None:
    document = of("a: ${X}\nb: !foo 1\na: 2\nc: ${\n")
    assert [fault.line for fault in document.faults] == [1, 2, 3, 4]
    assert document.is_broken(("b", "inside"))
    assert not document.is_broken(("d",))


def test_tags_that_name_a_plain_type() -> None:
    assert of("a: !!str 5\nb: !!int '7'\n").data == {"a": "5", "b": 7}


def test_a_variable_is_typed_unless_quoted_or_part_of_a_text() -> None:
    text = "a: ${N}\nb: '${N}'\nc: x${N}\nd: ${M:-5}\ne: ${T}\nf: ${N}${N}\ng: $${N}\n"
    document = of(text, N="12", T="lab 42")
    assert document.data == {"a": 12, "b": "12", "c": "x12", "d": 5, "e": "lab 42", "f": "1212", "g": "${N}"}
    assert document.written[("c",)] == "x${N}"
    assert document.texts[("a",)] == "12"
    assert document.secrets == {"12", "lab 42"}


def test_a_default_from_the_file_is_no_secret() -> None:
    assert of("a: '${N:-localhost}'\n").secrets == frozenset()


def with_secrets(tmp_path: Path, text: str, secrets: str | None) -> Document:
    (tmp_path / "box.yaml").write_text(text)
    if secrets is not None:
        (tmp_path / "secrets.yaml").write_text(secrets)
    return read(tmp_path / "box.yaml", {"NAME": "value"})


def test_secrets_come_from_the_file_beside(tmp_path: Path) -> None:
    document = with_secrets(tmp_path, "a: !secret mqtt\nb: [!secret pin]\n", "mqtt: 'se${NAME}cret'\npin: 0123\n")
    assert document.faults == ()
    assert document.data == {"a": "se${NAME}cret", "b": [123]}
    assert document.texts[("b", 0)] == "0123"
    assert document.secrets == {"se${NAME}cret", "0123"}
    assert document.written[("a",)] == "!secret mqtt"
    assert "cret" not in repr(document).replace("!secret", "").replace("secrets", "")


@pytest.mark.parametrize(
    ("secrets", "part"),
    [
        (None, "there is no secrets.yaml beside the file"),
        ("mqqt: x\n", "the secret 'mqtt' is not in secrets.yaml. Did you mean 'mqqt'?"),
        ("mqtt: [x]\n", "the secret 'mqtt' is not a single value"),
        ("mqtt:\n", "the secret 'mqtt' is not a single value"),
        ("mqtt: !secret mqtt\n", "cannot be used here"),
        ("mqtt: 'hunter2\n", "secrets.yaml has a fault"),
        ("\tmqtt: hunter2\n", "a tab"),
    ],
)
def test_a_secret_that_cannot_be_had(tmp_path: Path, secrets: str | None, part: str) -> None:
    document = with_secrets(tmp_path, "a: !secret mqtt\n", secrets)
    assert any(part in fault for fault in told(document)), told(document)
    assert "hunter2" not in "".join(told(document))


def test_a_directory_in_place_of_secrets(tmp_path: Path) -> None:
    (tmp_path / "secrets.yaml").mkdir()
    assert "this is a directory" in "".join(told(with_secrets(tmp_path, "a: !secret mqtt\n", None)))


def test_faults_do_not_show_what_was_filled_in() -> None:
    document = of("a: ${P}\na: ${P}\nb: 'x${P}${Q}'\nc: {${P}: 1}\n", P="hunter2")
    assert document.faults
    assert "hunter2" not in "".join(told(document))


def test_get_walks_groups_and_lists() -> None:
    document = of("a: [{b: 1}]\n")
    assert document.get("a", 0, "b") == 1
    assert document.get("a", 1, "b") is None
    assert document.get("a", "b") is None
    assert document.get("a", 0, "b", "c") is None


def test_the_nearest_word() -> None:
    assert nearest("Bandwith", ["bandwidth", "order"]) == "Did you mean 'bandwidth'? Known: bandwidth, order"
    assert nearest("xyz", ["bandwidth"]) == "Known: bandwidth"
    assert nearest("xyz", []) == "None is known here"


basic = st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs",))
"""Characters of one JSON escape each; YAML knows no pairs of surrogates."""
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(basic),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(basic, max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(basic, max_size=8), values, max_size=4))
def test_what_another_writer_wrote_is_read_back(data: dict[str, object]) -> None:
    """JSON is YAML 1.2, whoever wrote it; "${" and "<<" are ours. PyYAML writes YAML 1.1, where 0E0 is a word."""
    text = json.dumps(data)
    document = parse(text, "box.yaml", None)
    if "<<" not in text:
        assert document.faults == ()
        assert document.data == data


@given(st.text(alphabet=st.sampled_from("ab:-[]{}'\"#&*!|>%@`\n\t ,?$\\<\u00e9\u2028\x00"), max_size=40))
def test_no_text_is_a_traceback(text: str) -> None:
    document = of(text, a="1")
    assert document.faults or isinstance(document.data, dict)
    assert all(fault.line >= 1 and fault.column >= 1 for fault in document.faults), document.faults


@given(st.binary(max_size=40))
def test_no_bytes_are_a_traceback(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(raw)
    document = read(file, {})
    assert document.faults or isinstance(document.data, dict)
