"""`demo`: everything on this machine against the emulator, with something to look at in the end."""
