"""What lets an attempt through: pure rules for retrying, pausing, stopping and capping."""
