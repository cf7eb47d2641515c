"""What a job can train on: the catalog of data sets, their files, and the rule that splits their rows.

``catalog`` and ``split`` are light. ``builtin`` writes the files, importing scikit-learn; the API never does.
"""
