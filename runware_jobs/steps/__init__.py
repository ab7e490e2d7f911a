"""One file per arrow of the flow: enqueue, submit, poll, settle, record, announce, deliver, cancel, rescue.

A step owns its transactions, and none is open during a network call. Steps take
plain values; what is right to do is decided in `core`, how it is written stands in
`store`.
"""
