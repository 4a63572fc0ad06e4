"""forms: what viewers of a run are sent, pure: events and changes in, frames out."""
