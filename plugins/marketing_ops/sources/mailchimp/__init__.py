"""Mailchimp Marketing 3.0."""
