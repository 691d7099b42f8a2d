"""CyberSource's answers: received and kept, applied, and applied later if that failed."""
