"""What goes over the wire: two transports, their envelopes, and grouped submits and polls on either."""
