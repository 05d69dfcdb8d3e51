"""Chunks of visits on several processes or machines."""
