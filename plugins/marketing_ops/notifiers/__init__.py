"""What on-call reads when a task fails."""
