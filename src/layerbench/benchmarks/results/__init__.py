"""What a run scored on a panel: as one JSON, and in the forms of others."""
