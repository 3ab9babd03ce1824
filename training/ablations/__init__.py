"""What matters in pre-training, measured on cached features of a frozen trunk."""
