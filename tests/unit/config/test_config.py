"""The whole configuration: defaults, the names of the Rust original, and typed access."""

from __future__ import annotations

import pytest

from gateway.config.config import Config, Connection, built_in, complete, config_model
from gateway.config.document import parse
from gateway.config.settings import Settings
from gateway.config.validate import validate
from gateway.errors import Fault

Kinds = dict[str, type[Settings]]


def load(text: str, kinds: Kinds) -> tuple[Config | None, tuple[Fault, ...]]:
    return validate(complete(parse(text, "f", {})), config_model(kinds))


def good(text: str, kinds: Kinds) -> Config:
    config, faults = load(text, kinds)
    assert faults == ()
    assert config is not None
    return config


def test_an_empty_file_is_the_built_in_configuration(kinds: Kinds) -> None:
    config = good("", kinds)
    graph = config.processing.default_graph
    assert " ".join(node.type for node in graph.nodes) == (
        "input level spectrum filter gain differential lock_in peak_finder concentration output"
    )
    assert graph.nodes[4].parameters == kinds["gain"].model_validate({"gain_db": 12})
    assert config.rules[0].do == ["relay fan on", "led status red"]
    assert config.mqtt is None
    assert config.board is None


def test_the_built_in_file_says_of_its_sections_what_their_defaults_say(kinds: Kinds) -> None:
    empty = good("", kinds)
    assert built_in().faults == ()
    for section in ("acquisition", "laser"):
        whole, _ = validate(built_in(), config_model(kinds))
        assert getattr(whole, section) == getattr(empty, section)


def test_rules_of_ones_own_replace_the_built_in_ones(kinds: Kinds) -> None:
    assert good("rules: []", kinds).rules == ()
    assert good("rules: [{when: co2_concentration above 5}]", kinds).rules[0].when == "co2_concentration above 5"


def test_the_built_in_rules_do_not_come_with_a_graph_of_ones_own(kinds: Kinds) -> None:
    text = "processing: {default_graph: {nodes: [{id: a, type: input}]}}"
    config = good(text, kinds)
    assert config.rules == ()
    assert [node.id for node in config.processing.default_graph.nodes] == ["a"]


def test_a_fault_in_processing_does_not_bring_in_the_built_in_graph(kinds: Kinds) -> None:
    _, faults = load("processing: {default_graph: {}}", kinds)
    assert [str(fault) for fault in faults] == [
        "f:1:14: processing.default_graph.nodes: the option 'nodes' is missing. "
        "Add `nodes: ...` (the nodes; without connections each feeds the next)"
    ]


def test_a_graph_of_the_rust_original(kinds: Kinds) -> None:
    config = good(
        "processing:\n  default_graph:\n    id: main\n    nodes:\n"
        "      - {id: a, node_type: input}\n"
        "      - {id: b, node_type: computing_peak_finder,\n"
        "         parameters: {frequency_min: 1, frequency_max: 2}}\n"
        "      - {id: c, type: computing_concentration, parameters: {source: b}}\n"
        "      - {id: d, node_type: photoacoustic_output, parameters: }\n"
        "    connections: [{from: a, to: b}, {from: b, to: c}, {from: c, to: d}]\n",
        kinds,
    )
    graph = config.processing.default_graph
    assert [node.type for node in graph.nodes] == ["input", "peak_finder", "concentration", "output"]
    assert (graph.connections[2].from_, graph.connections[2].to) == ("c", "d")
    assert isinstance(graph.connections[0], Connection)


def test_a_renamed_type_keeps_its_place(kinds: Kinds) -> None:
    text = "processing: {default_graph: {nodes: [\n  {id: a,\n   node_type: inptu}]}}"
    _, faults = load(text, kinds)
    assert (faults[0].line, faults[0].column) == (3, 4)


def test_both_names_for_a_type_are_one_too_many(kinds: Kinds) -> None:
    _, faults = load("processing: {default_graph: {nodes: [{id: a, type: input, node_type: input}]}}", kinds)
    assert len(faults) == 1
    assert "unknown option 'node_type'" in faults[0].message


def test_settings_are_frozen_and_nodes_typed(kinds: Kinds) -> None:
    config = good("", kinds)
    for node in config.processing.default_graph.nodes:
        assert type(node.parameters) is kinds[node.type]
        assert node.model_config["frozen"]


def test_a_single_kind_is_enough() -> None:
    class Only(Settings):
        """One."""

    config = good("processing: {default_graph: {nodes: [{id: a, type: only}]}}", {"only": Only})
    assert config.processing.default_graph.nodes[0].parameters == Only()


@pytest.mark.parametrize(
    ("given", "least"),
    [
        ("{}", "C"),
        ("{isolation: required}", "B"),
        ("{isolation: required, min_isolation: L}", "B"),
        ("{isolation: required, min_isolation: A}", "A"),
        ("{min_isolation: L}", "L"),
    ],
)
def test_the_least_level_of_scripts(kinds: Kinds, given: str, least: str) -> None:
    assert good(f"scripts: {given}", kinds).scripts.least == least


def test_isolation_is_required_or_not_named(kinds: Kinds) -> None:
    (fault,) = load("scripts: {isolation: none}", kinds)[1]
    assert fault.loc == ("scripts", "isolation")
