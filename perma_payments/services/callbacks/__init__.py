"""CyberSource's responses: received and kept, applied, and applied later if that failed."""
