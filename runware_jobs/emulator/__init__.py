"""An emulator of the Runware platform: its protocol, its faults, pictures worth looking at, and a ledger.

Stands alone: it imports nothing else of this project and may be run, embedded or copied by itself.
"""

from .app import create_app
from .config import Config
from .latencies import Latency
from .serve import Serving, serving
from .switches import ConfigError, Switches

__all__ = ["Config", "ConfigError", "Latency", "Serving", "Switches", "create_app", "serving"]
