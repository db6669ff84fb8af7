"""Marketing automation as code on Apache Airflow: engines, sources and thin Airflow faces."""

__version__ = "0.1.0"
