"""Runs alone in a process: reads graphs (a JSON list of DOT texts), writes their layouts (a JSON list)."""

import json
import resource
import sys
from pathlib import Path

from py_mini_racer import JSPromise, MiniRacer

CPU_SECONDS = 40
HEAP_BYTES = 1 << 30
_LOAD_SECONDS = 20

# What Viz.js expects of a browser. It decodes only what we send, and we send ASCII; its XML parser wants a random
# number against inputs that are made to collide, which ours are not: the same picture each time is worth more.
_BROWSER = """
globalThis.console = {log() {}, warn() {}, error() {}};
globalThis.location = {href: "file:///"};
globalThis.crypto = {getRandomValues: (bytes) => bytes.fill(7)};
globalThis.TextDecoder = class {
  decode(bytes) {
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192)
      text += String.fromCharCode.apply(null, bytes.subarray(at, at + 8192));
    return text;
  }
};
"""
_LAY_OUT = """
function layOut(dot) {
  const done = viz.render(dot, {format: "json0", engine: "dot"});
  return done.status === "success" ? done.output : "!" + JSON.stringify(done.errors);
}
"""


def main() -> int:
    """Lay out what stands on standard input; a reason on standard error and 1 if that fails."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    graphs = json.load(sys.stdin)
    engine = MiniRacer()
    engine.set_hard_memory_limit(HEAP_BYTES)
    engine.eval(_BROWSER)
    engine.eval(Path(__file__).with_name("viz-global.js").read_text(encoding="utf-8"))
    ready = engine.eval("let viz; Viz.instance().then(made => { viz = made; })")
    if not isinstance(ready, JSPromise):
        raise TypeError("Viz.js did not return a promise")
    ready.get(timeout=_LOAD_SECONDS)
    engine.eval(_LAY_OUT)
    layouts = []
    for dot in graphs:
        layout = engine.call("layOut", dot)
        if layout.startswith("!"):
            print(layout[1:], file=sys.stderr)  # noqa: T201 - the parent reads it
            return 1
        layouts.append(layout)
    sys.stdout.write("[" + ",".join(layouts) + "]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
