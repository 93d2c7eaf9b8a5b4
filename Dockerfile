# The worker and Microsoft's ODBC driver, for SQL Server, PostgreSQL and SQLite.
#
#   docker build --tag rudder-worker --build-arg REVISION="$(git rev-parse HEAD)" .
#   docker run --rm rudder-worker --version
#
# Runs as a user of its own, without a shell, and on a read-only root file system: what it keeps (nothing but SQLite's
# file, where that is the database) goes into its working directory, /var/lib/rudder.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# What changes least comes first: the dependencies are fetched again only when their pins change.
COPY requirements requirements
RUN python -m venv --without-pip /opt/rudder \
    && python -m pip --python /opt/rudder/bin/python install \
        --require-hashes --only-binary :all: --requirement requirements/runtime.txt \
    # The build backend with what it needs, at the versions and hashes that development has.
    && awk '/^[a-z]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } wanted' \
        requirements/dev.txt > build.txt \
    && python -m pip install --require-hashes --only-binary :all: --requirement build.txt
# The driver is a library in the wheel mssql-python-odbc. Its name holds its version and its folder the machine's kind,
# so it is looked for; `test -f` fails unless exactly one is found.
RUN library="$(find /opt/rudder -path '*/debian_ubuntu/*/libmsodbcsql-18*.so*')" \
    && test -f "$library" \
    && printf '[ODBC Driver 18 for SQL Server]\nDescription=Microsoft ODBC Driver 18 for SQL Server\nDriver=%s\n' \
        "$library" > odbcinst.ini
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY schemas schemas
COPY migrations migrations
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && python -m pip --python /opt/rudder/bin/python install --no-deps dist/*.whl

FROM ${PYTHON_IMAGE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rudder-worker" \
    org.opencontainers.image.description="Turns what CI/CD systems say about releases and deployments into rows that a company can trust." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.revision="${REVISION}"
# libodbc2 is what pyodbc is linked to; the other two are what Microsoft's driver is linked to. OpenSSL, which the driver
# loads when it connects, Python's image has.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libodbc2 libltdl7 libgssapi-krb5-2 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 rudder \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/rudder --shell /usr/sbin/nologin rudder \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/rudder
COPY --from=build /build/odbcinst.ini /etc/odbcinst.ini
COPY --from=build /opt/rudder /opt/rudder
# In a container, 127.0.0.1 would be the container's own: what may reach it is for whoever publishes the port to say.
ENV PATH=/opt/rudder/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ODBCSYSINI=/etc \
    RUDDER_HTTP_HOST=0.0.0.0 \
    RUDDER_GATEWAY_HOST=0.0.0.0
WORKDIR /var/lib/rudder
USER 10001:10001
# A library that the driver misses is found here and not at the first connection.
RUN ["python", "-c", "import ctypes, pyodbc; name, = pyodbc.drivers(); assert name == 'ODBC Driver 18 for SQL Server'; ctypes.CDLL(open('/etc/odbcinst.ini').read().split('Driver=')[1].strip()); ctypes.CDLL('libssl.so.3')"]
EXPOSE 8080 8088
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('RUDDER_HTTP_PORT', '8080')), timeout=3); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["rudder-worker"]
CMD ["run"]
