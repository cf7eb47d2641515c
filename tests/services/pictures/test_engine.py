"""The engine is the file that its notice names, and runs without our environment."""

import hashlib
from pathlib import Path

from services.pictures import engine

FOLDER = Path(engine.__file__).parent


def test_the_engine_is_the_published_file_with_its_licences():
    notice = (FOLDER / "NOTICE").read_text()
    assert hashlib.sha256((FOLDER / "viz-global.js").read_bytes()).hexdigest() in notice
    assert "Eclipse Public License" in (FOLDER / "LICENSE-graphviz").read_text()


def test_layouts_come_in_the_order_of_the_graphs_and_the_same_each_time():
    graphs = ["digraph {a -> b}", "digraph {a -> b -> c}", "digraph {}"]
    first = engine.lay_out(graphs)
    assert [len(one.get("objects", [])) for one in first] == [2, 3, 0]
    assert engine.lay_out(graphs) == first
