# One image for every part of the cluster: Airflow, the project, the emulator. docs/deploy.md
FROM python:3.11.14-slim-bookworm AS packages
COPY requirements.txt /tmp/requirements.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/requirements.txt

FROM python:3.11.14-slim-bookworm
# Folders that volumes are laid over take their owner from the image.
RUN useradd --uid 50000 --gid 0 --no-create-home --home-dir /opt/airflow airflow \
    && mkdir -p /opt/airflow /var/lib/emulator /var/spool/vision-batch \
    && chown 50000:0 /opt/airflow /var/lib/emulator /var/spool/vision-batch
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/vision-batch/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/vision-batch/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    TMPDIR=/var/spool/vision-batch
WORKDIR /opt/vision-batch
COPY pyproject.toml README.md ./
COPY plugins plugins
# The project's own packages come from the lock above; what is built here is only its own metadata.
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --editable . \
    && python -m compileall -q plugins
COPY dags dags
COPY include include
COPY deploy/healthy.py deploy/healthy.py
USER 50000:0
CMD ["airflow", "version"]
