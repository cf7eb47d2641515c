"""What is seen in an SVG picture: everything, nothing on top of anything, and each kind in its own shape."""

import itertools
import re
from xml.etree import ElementTree

import pytest

from services.pictures.markup import text_width
from services.pictures.render import render
from services.pictures.shapes import FONT_SIZE
from tests.services.pictures import graphs
from tests.services.pictures.drawn import SVG, view, views

ALL = {
    "article": graphs.article,
    "shared": graphs.shared_in_a_loop,
    "not finite": graphs.not_finite,
    "resnet": graphs.resnet18,
    "gpt": lambda: graphs.gpt(2),
}


@pytest.fixture(scope="module")
def pictures():
    """Each graph's document, its picture with everything open, and its automatic picture; drawn once."""
    documents = {name: make() for name, make in ALL.items()}
    return {name: (one, render(one, "svg", collapse="none"), render(one, "svg")) for name, one in documents.items()}


@pytest.mark.parametrize("name", ALL)
def test_with_everything_open_every_piece_of_data_every_operation_and_every_use_is_there(pictures, name):
    document, svg, _ = pictures[name]
    picture = view(svg)
    assert set(picture.boxes) == {one["id"] for one in document["nodes"] + document["operations"]}
    uses = {(key, one["id"]) for one in document["operations"] for key in one["inputs"]}
    makes = {(one["id"], key) for one in document["operations"] for key in one["outputs"]}
    assert {link[:2] for link in picture.links} == uses | makes


@pytest.mark.parametrize("name", ALL)
def test_no_two_boxes_overlap_and_labels_lie_in_their_boxes(pictures, name):
    for svg in pictures[name][1:]:
        for picture in views(svg)[:3]:
            for one, other in itertools.combinations(picture.boxes.values(), 2):
                assert not one.overlaps(other)
            for key, rows in picture.texts.items():
                box = picture.boxes[key]
                for row, x, y in rows:
                    half = text_width(row, FONT_SIZE) / 2
                    assert box.x <= x - half and x + half <= box.x + box.wide
                    assert box.y + FONT_SIZE * 0.7 <= y <= box.y + box.high


@pytest.mark.parametrize("name", ALL)
def test_frames_hold_their_boxes_and_are_nested_or_apart(pictures, name):
    picture = view(pictures[name][1])
    for (_, first, one), (_, second, other) in itertools.combinations(picture.frames, 2):
        assert one.holds(other) or other.holds(one) or not one.overlaps(other), (first, second)


@pytest.mark.parametrize("name", ["shared", "gpt"])
def test_the_same_document_gives_the_same_text(pictures, name):
    document, _, automatic = pictures[name]
    assert render(document, "svg") == automatic


def test_the_article_s_graph_reads_like_the_figure(pictures):
    picture = view(pictures["article"][1])
    first_rows = {key: rows[0][0] for key, rows in picture.texts.items()}
    assert set(first_rows.values()) == {"x1 = 1", "x2 = 3", "w = 2", "a = 3", "b = 5", "y = 15", "+", "×"}
    height = {first_rows[key]: box.y for key, box in picture.boxes.items()}
    assert height["w = 2"] < height["+"] < height["a = 3"] < height["×"] < height["y = 15"]
    assert not picture.frames


def test_kinds_differ_in_shape_or_line_and_not_in_colour_alone():
    s = graphs.Sketch()
    kinds = ["input", "parameter", "buffer", "constant", "value", "output"]
    data = [s.data(kind, kind) for kind in kinds]
    s.apply("relu", data[:4], data[4])
    s.apply("add", data[:4], data[5])
    seen = set()
    root = view(render(s.document(data[5]), "svg")).root
    for group in root.iter(f"{SVG}g"):
        if group.get("data-id"):
            shapes = [one for one in group if one.tag not in (f"{SVG}title", f"{SVG}text")]
            corners = [len(one.get("points", "").split()) for one in shapes]
            round_ = [one.get("rx") and one.get("width") == one.get("height") for one in shapes]
            styles = [(one.tag, bool(one.get("rx")), one.get("stroke-dasharray")) for one in shapes]
            seen.add(str((corners, styles, round_)))
    assert len(seen) == 8


def test_a_line_is_as_wide_as_the_gradient_that_this_use_adds_and_dashed_without_one():
    document = graphs.article()
    document["operations"][1]["input_gradients"][0] = None
    widths = {link[:2]: link[2:] for link in view(render(document, "svg")).links}
    assert widths["n2", "e0"][0] > widths["n2", "e1"][0] > widths["e2", "n5"][0]
    assert widths["n2", "e0"] == widths["e0", "n3"]
    assert widths["n1", "e1"][1] is not None
    assert widths["n0", "e0"][1] is None
    plain = graphs.shared_in_a_loop()
    assert {link[2:] for link in view(render(plain, "svg")).links} == {(1.4, None)}


def test_a_gradient_that_is_not_finite_is_as_wide_as_can_be():
    document = graphs.article()
    document["nodes"][3]["gradient"] = {"value": "NaN", "norm": "NaN"}
    document["operations"][2]["input_gradients"] = ["NaN", 3.0]
    widths = {link[:2]: link[2] for link in view(render(document, "svg")).links}
    assert widths["n3", "e2"] == widths["e0", "n3"] == 6.0 > widths["n4", "e2"]


def test_the_first_operation_that_is_not_finite_is_marked_also_inside_a_closed_module(pictures):
    picture = view(pictures["not finite"][1])
    assert [key for key, rows in picture.texts.items() if "⚠ first not finite" in [row[0] for row in rows]] == ["e0"]
    document = graphs.resnet18()
    bad = next(one for one in document["operations"] if one["module"] == "layer3.1.bn2")
    bad["first_non_finite"] = True
    texts = view(render(document, "svg", collapse="depth:0")).texts
    assert [key for key, rows in texts.items() if "⚠ first not finite" in [r[0] for r in rows]] == ["module:layer3"]


def test_a_shared_layer_is_drawn_once_and_reached_each_time(pictures):
    picture = view(pictures["shared"][1])
    assert [title for kind, title, _ in picture.frames if kind == "module"] == [
        "cell: Linear, 72 parameters, called 3 times"
    ]
    weight = next(key for key, rows in picture.texts.items() if rows[0][0] == "weight")
    assert len([link for link in picture.links if link[0] == weight]) == 3
    closed = view(render(graphs.shared_in_a_loop(), "svg", collapse="cell"))
    assert list(closed.kinds.values()).count("layer") == 1
    assert len([link for link in closed.links if link[1] == "module:cell"]) == 3


def test_loops_show_their_turns_and_branches_the_way_taken(pictures):
    frames = view(pictures["shared"][1]).frames
    labels = re.findall(r">(↻ for · 3 turns|turn \d|if h\.norm\(\) &lt; 0\.8 → then)<", pictures["shared"][1])
    assert set(labels) == {"↻ for · 3 turns", "turn 1", "turn 2", "turn 3", "if h.norm() &lt; 0.8 → then"}
    (loop,) = [rect for kind, _, rect in frames if kind == "loop"]
    assert all(loop.holds(rect) for kind, _, rect in frames if kind in ("turn", "module"))
    assert not any(loop.overlaps(rect) for kind, _, rect in frames if kind == "branch")


def test_big_graphs_are_closed_at_first_and_each_closed_group_opens_by_a_click(pictures):
    _, _, svg = pictures["resnet"]
    home, *others = views(svg)
    assert len(home.boxes) <= 48
    links = {one.get("href") for one in home.root.iter(f"{SVG}a")}
    assert links <= {f"#{one.root.get('id')}" for one in others}
    groups = [key for key, kind in home.kinds.items() if kind == "group"]
    assert len(links) == len(groups) == 8
    opened = next(one for one in others if "module:layer2.0.conv1" in one.boxes)
    assert "module:layer2.0" not in opened.boxes and "module:layer2.1" in opened.boxes
    assert f"#{home.root.get('id')}" in {one.get("href") for one in opened.root.iter(f"{SVG}a")}
    assert all(one.root.get("display") == "none" for one in others) and home.root.get("display") is None


def test_no_picture_has_a_script_or_anything_from_elsewhere(pictures):
    for _, open_, closed in pictures.values():
        for svg in (open_, closed):
            assert not re.search(r"<script|\son\w+=|javascript:|url\(|@import|<foreignObject|<image", svg)
            assert all(one.get("href", "#").startswith("#") for one in ElementTree.fromstring(svg).iter())


EVIL = "</title></svg><script>alert(1)</script>\" onload='x' & \x00\x1b\ud800 ]]> \u202e %s {} ${x} 模型🙂" + "x" * 300


@pytest.mark.parametrize("format", ["svg", "mermaid", "dot"])
def test_names_are_text_whatever_they_hold(format):
    s = graphs.Sketch()
    x = s.data("input", EVIL, value="</text>", requires_grad=True)
    s.called(EVIL, EVIL)
    y = s.apply(
        EVIL,
        [x],
        s.data("output", EVIL),
        module=EVIL,
        source=EVIL,
        pointer=EVIL,
        loops=[{"pointer": EVIL, "turn": EVIL}],
    )
    s.loops.append({"pointer": EVIL, "kind": EVIL, "turns": 1})
    text = render(
        s.document(y, truncated={EVIL: EVIL, "operations": {"kept": 2, "left_out": 3}}),
        format,
        collapse="none",
        title=EVIL,
    )
    if format == "svg":
        root = ElementTree.fromstring(text)
        assert {one.tag.removeprefix(SVG) for one in root.iter()} <= {
            "svg", "title", "g", "rect", "polygon", "path", "text", "line"
        }  # fmt: skip
        assert not any(name.startswith("on") for one in root.iter() for name in one.attrib)
    if format == "mermaid":
        assert "<" not in text.replace("<br/>", "") and "`" not in text
    text.encode()
