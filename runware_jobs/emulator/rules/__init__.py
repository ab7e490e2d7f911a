"""What a request has to keep to before it is accepted."""
