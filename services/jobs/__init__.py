"""Jobs: submit, states, claims, outcomes."""
