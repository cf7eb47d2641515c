"""What users import and type: the Python client, the command line, and the all-in-one launcher. No torch here."""
