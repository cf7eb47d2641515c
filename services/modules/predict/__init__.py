"""A trained model on new rows, in a child that stays warm: rows prepared as in training, answers in words."""
