"""The Airflow faces of the engines: arguments in, one plain function called, counts out."""
