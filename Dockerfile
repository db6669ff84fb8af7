# Airflow with marketing_ops in it: the same image for every Airflow service and the receiver.
# Build: docker build -t marketing-ops:dev .
FROM apache/airflow:3.3.2-python3.12

# Exactly the versions that were tested; Celery, Redis and FAB come with the base image.
COPY --chown=airflow:root requirements.txt requirements.lock /opt/marketing_ops/
RUN uv pip install --no-cache -r /opt/marketing_ops/requirements.txt \
    --constraints /opt/marketing_ops/requirements.lock

# The package brings its command and its connection forms; Airflow reads the folders.
COPY --chown=airflow:root pyproject.toml README.md LICENSE /opt/marketing_ops/
COPY --chown=airflow:root plugins/ /opt/marketing_ops/plugins/
RUN uv pip install --no-cache --no-deps /opt/marketing_ops

COPY --chown=airflow:root plugins/ /opt/airflow/plugins/
COPY --chown=airflow:root include/ /opt/airflow/include/
COPY --chown=airflow:root dags/ /opt/airflow/dags/
