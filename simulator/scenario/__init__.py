"""What a scenario YAML may say."""
