# Every command of the project in one image; without arguments it is the HTTP API.

FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.lock .
# Everything the lock names, hashes checked and nothing compiled. The installation below
# sees this folder only, and takes from it what runs, not what developers need.
RUN pip download --no-cache-dir --only-binary :all: --require-hashes -r requirements.lock -d /wheels
COPY . .
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --no-index --find-links /wheels ".[flower]" \
 && /venv/bin/pip uninstall --yes pip

FROM python:3.13-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin runware
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /srv
USER 10001:10001
EXPOSE 9400
# A worker stops claiming, finishes what is on the wire, gives back its lease.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9400/healthz', timeout=4)"]
CMD ["runware-jobs", "api", "--host", "0.0.0.0", "--port", "9400"]
