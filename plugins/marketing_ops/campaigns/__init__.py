"""Campaigns: files declare, the database decides, one set-based tick moves everybody."""
