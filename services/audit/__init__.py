"""Who did what: written with the deed, read by whoever may."""
