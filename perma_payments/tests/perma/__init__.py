"""What is said to and heard from Perma.cc."""
