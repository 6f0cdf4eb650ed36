"""Learning a map from rows to embeddings, and the models it gives."""
