"""The night: files arrive, exposures are ingested, visits are defined."""
