"""Distillation: a light student learns a teacher's image embeddings and lookup maps, in its space."""
