"""The probe: what this processor and its operating system support."""

def supported_levels() -> tuple[str, ...]:
    """Return the instruction-set levels this machine can run, lowest first."""
