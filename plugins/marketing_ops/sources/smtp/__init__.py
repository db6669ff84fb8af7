"""SMTP: a system that is written to by delivery; only its connection form is declared here."""
