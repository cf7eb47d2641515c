"""Choosing what is open, the text formats, and the limits."""

import json
import re

import pytest

from services.errors import InvalidRequest
from services.pictures import collapse as opening
from services.pictures import engine, views
from services.pictures.document import read
from services.pictures.frames import Nesting
from services.pictures.render import render
from services.pictures.scene import compose
from tests.services.pictures import graphs
from tests.services.pictures.drawn import view


def closed(graph, collapse: str) -> set[str]:
    """Return the modules that are boxes."""
    document = read(graph)
    nesting = Nesting(document)
    layers = opening.leaves(nesting, document)
    shut = opening.closed_frames(nesting, collapse, layers, lambda some: len(compose(document, nesting, some).boxes))
    return {key for key in compose(document, nesting, shut).boxes if key.startswith("module:")}


def test_depth_closes_the_modules_below_it():
    assert closed(graphs.resnet18(), "depth:0") == {
        f"module:{name}" for name in
        ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc")
    }  # fmt: skip
    assert "module:layer1.0" in closed(graphs.resnet18(), "depth:1")
    assert closed(graphs.resnet18(), "depth:9") == set()


def test_named_modules_are_closed_and_all_others_open_a_list_stands_for_its_modules():
    assert closed(graphs.resnet18(), "layer1, layer2.0") == {"module:layer1", "module:layer2.0"}
    assert closed(graphs.gpt(2), "h") == {"module:h.0", "module:h.1"}


def test_the_automatic_choice_opens_whole_levels_and_all_of_a_small_graph():
    assert closed(graphs.shared_in_a_loop(), "auto") == set()
    assert {f"module:layer{stage}.{block}" for stage in range(1, 5) for block in (0, 1)} <= closed(
        graphs.resnet18(), "auto"
    )
    assert {f"module:h.{index}" for index in range(12)} <= closed(graphs.gpt(), "auto")


@pytest.mark.parametrize("collapse", ["nothing", "", "depth:", "depth:-1", "layer9", "layer1,,", "AUTO"])
def test_a_collapse_that_means_nothing_is_refused(collapse):
    with pytest.raises(InvalidRequest) as caught:
        render(graphs.resnet18(), "dot", collapse=collapse)
    assert caught.value.code == "collapse_invalid"
    assert "depth:N" in caught.value.hint


def test_json_is_the_document_itself():
    assert json.loads(render(graphs.article(), "json")) == graphs.article()


def test_a_weight_that_another_layer_uses_leads_out_of_its_closed_layer():
    links = {link[:2] for link in view(render(graphs.gpt(2), "svg")).links}
    head = next(one["id"] for one in graphs.gpt(2)["operations"][::-1])
    assert ("module:wte", head) in links


@pytest.mark.parametrize(
    ("make", "collapse"), [(graphs.shared_in_a_loop, "none"), (graphs.resnet18, "none"), (graphs.resnet18, "depth:0")]
)
def test_dot_is_dot_as_graphviz_reads_it_with_everything_the_svg_shows(make, collapse):
    (layout,) = engine.lay_out([render(make(), "dot", collapse=collapse)])
    picture = view(render(make(), "svg", collapse=collapse))
    objects = layout["objects"]
    assert len([one for one in objects if "pos" in one]) == len(picture.boxes)
    assert len([one for one in objects if "bb" in one]) == len(picture.frames)
    assert len(layout["edges"]) == len(picture.links)


MERMAID = [
    r"flowchart TD",
    r" +subgraph n\d+\[" + '"[^"`<]*"' + r"\]",
    r" +end",
    r" +n\d+(\[/|\{\{|\[\(|>|\(\[|\(\(\(|\[|\(\(|\[\[)"
    + r'"([^"`<]|<br/>)*"'
    + r"(/\]|\}\}|\)\]|\]|\]\)|\)\)\)|\)\)|\]\])",
    r" +n\d+ (-->|-\.->)(\|" + '"[^"`<]*"' + r"\|)? n\d+",
    r" +linkStyle \d+ stroke-width:[\d.]+px",
    r" +classDef \w+ [\w:.,\- ]+",
    r" +class n\d+(,n\d+)* \w+",
]


@pytest.mark.parametrize("make", [graphs.article, graphs.shared_in_a_loop, graphs.not_finite])
def test_mermaid_has_only_lines_that_mermaid_knows_and_everything_the_svg_shows(make):
    text = render(make(), "mermaid", collapse="none")
    for line in text.splitlines():
        assert any(re.fullmatch(form, line) for form in MERMAID), line
    picture = view(render(make(), "svg", collapse="none"))
    assert len(re.findall(r"-->|-\.->", text)) == len(picture.links)
    assert text.count("subgraph") == len(picture.frames) == len(re.findall(r"^ *end$", text, re.MULTILINE))


ODD = ["", "\n", "end", 'a"b', "`x`", "#35;", "%% x", "-->", "\\", "\\n", "subgraph", "x" * 5000, "<b>", "}}", "\u202e"]


def test_odd_names_are_names_in_mermaid_and_dot():
    s = graphs.Sketch()
    x = s.data("input", "x")
    for index, name in enumerate(ODD):
        s.called(f"m{index}", name)
        x = s.apply(name, [x], s.data("value", name), module=f"m{index}")
    for line in render(s.document(x), "mermaid", collapse="none").splitlines():
        assert any(re.fullmatch(form, line) for form in MERMAID) and '""' not in line, line
    (layout,) = engine.lay_out([render(s.document(x), "dot", collapse="none")])
    assert len(layout["objects"]) == 3 * len(ODD) + 1


def test_too_many_boxes_are_refused_before_they_are_laid_out(monkeypatch):
    monkeypatch.setattr(views, "MAX_BOXES", 20)
    for format in ("svg", "dot", "mermaid"):
        with pytest.raises(InvalidRequest) as caught:
            render(graphs.resnet18(), format, collapse="none")
        assert caught.value.code == "picture_too_large"


def test_a_flat_graph_of_a_thousand_operations_is_refused_in_words():
    s = graphs.Sketch()
    x = s.data("input", "x")
    for _ in range(1000):
        x = s.apply("add", [x], s.data("value"))
    with pytest.raises(InvalidRequest, match="2,001 boxes"):
        render(s.document(x), "svg")


def test_groups_beyond_the_budget_are_shown_but_do_not_open(monkeypatch):
    """Whole levels open or stay closed: the eight blocks, not the projections inside of three of them."""
    monkeypatch.setattr(views, "MAX_VIEW_BOXES", 450)
    svg = render(graphs.resnet18(), "svg")
    assert svg.count('class="view"') == 8
    assert "a group without ▸ opens" in svg
    assert svg.count("▸") < list(view(svg).kinds.values()).count("group") * (svg.count('class="view"') + 1)


def test_an_engine_that_takes_too_long_is_ended_and_says_so():
    with pytest.raises(engine.LayoutFailed, match="no layout after"):
        engine.lay_out(["digraph {a -> b}"], timeout_seconds=0.01)


def test_an_engine_that_fails_gives_an_answer_in_words(monkeypatch):
    monkeypatch.setattr(views, "to_dot", lambda *_: "digraph { a -> }")
    with pytest.raises(InvalidRequest) as caught:
        render(graphs.article(), "svg")
    assert caught.value.code == "picture_failed"
