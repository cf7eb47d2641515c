"""What a tenant may have and how often it may ask."""
