"""CyberSource's responses: receive and keep them, apply them, and retry those that could not be applied."""
