"""Workers: who is there, with what, and doing what."""
