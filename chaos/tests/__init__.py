"""Whether the verdict can be trusted: it finds what is lost or doubled. `fab chaos` itself tests the rest."""
