"""How large a definition and what it asks for may be."""

MAX_TEXT_CHARACTERS = 4_096
MAX_EXPRESSION_DEPTH = 100
MAX_BRACKET_DEPTH = 60
MAX_DEFINITIONS = 500
MAX_DOCUMENT_NODES = 50_000
MAX_DOCUMENT_DEPTH = 64
MAX_POSITIONS = 10_000
"""Modules, statements and expressions of one document."""
MAX_CHARACTERS = 120_000
"""Characters of all statements and expressions of one document."""
MAX_NAME_CHARACTERS = 100
MAX_PROBLEMS = 50

MAX_INTEGER = 2**63
MAX_DIMENSION = 2**20
MAX_ELEMENTS = 2**31
"""Elements of one tensor whose size is written in the definition."""
MAX_STRING_CHARACTERS = 10_000
MAX_ITEMS = 100_000
"""Items of one list, tuple or range that is made while the model is built."""
MAX_MODULES = 10_000
MAX_TREE_DEPTH = 100
"""Modules nested in modules."""
MAX_BUILD_TURNS = 20_000
"""Turns of all loops and comprehensions while the model is built."""
MAX_BUILD_ITEMS = 100_000
"""Items of lists and characters of strings that are made, compared or gone through while the model is built."""
MAX_BUILD_STEPS = 200_000
"""Statements and parts of expressions that are evaluated while the model is checked."""
MAX_BUILD_DEPTH = 40
"""Definitions nested in definitions."""
MAX_RECURSIVE_CALLS = 250
"""How often definitions may be called, while the model is built, by what they call themselves.

Calls with arguments that were there before are free."""
MAX_RECURSION = 100
"""How deep a function may call itself in a forward."""
MAX_FORWARD_TURNS = 1_000_000
"""Turns of all loops and comprehensions in one forward."""
MAX_AT_MOST = 100_000
MAX_FORWARD_WORK = 10_000_000
"""Calls and turns of one forward that its text alone already says."""
