"""What a tenant has used."""
