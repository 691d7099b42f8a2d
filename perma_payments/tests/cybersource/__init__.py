"""What is said to and heard from CyberSource."""
