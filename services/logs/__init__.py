"""What a job wrote down while it trained, as text for people."""
