"""Drivers: what runs a method in another way than step after step of the engine's."""
