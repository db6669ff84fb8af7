"""What Airflow has to know of marketing_ops when it starts. Pages of its own come later."""

from airflow.plugins_manager import AirflowPlugin


class MarketingOpsPlugin(AirflowPlugin):
    """Registers the name; operators and DAGs are plain imports, forms come by entry point."""

    name = "marketing_ops"
