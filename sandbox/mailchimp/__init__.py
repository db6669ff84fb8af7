"""A simulated Mailchimp Marketing account: API 3.0 with its traps, below `/mailchimp`."""
