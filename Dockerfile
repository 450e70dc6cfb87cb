# syntax=docker/dockerfile:1.17
# stdio by default:  docker run -i --rm -e TTP_API_TOKEN ghcr.io/timetopost/ttp-mcp
# over HTTP:         docker run --rm -p 8000:8000 -e TTP_SERVER_KEY -e TTP_API_TOKEN -e TTP_ALLOWED_HOSTS=localhost:8000 \
#                      ghcr.io/timetopost/ttp-mcp --transport http --host 0.0.0.0 --port 8000
# The token comes at run time, from the environment or a mounted file (TTP_API_TOKEN_FILE). No layer ever holds one.

FROM python:3.13.9-slim-trixie AS build
COPY --from=ghcr.io/astral-sh/uv:0.13.9 /uv /bin/uv
# Bytecode now, since the first import without it costs more than three times as much; copies, since the cache stays behind.
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/app
WORKDIR /src
# All extras: Kubernetes sets TTP_STATE_URL, and which store and whether with spans is known only where it runs.
# Dependencies first: they change less often than the code, and keep their layer.
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY ttp_mcp/__init__.py ttp_mcp/__init__.py
RUN uv sync --locked --no-dev --all-extras --no-install-project
COPY ttp_mcp ttp_mcp
RUN uv sync --locked --no-dev --all-extras --no-editable

FROM python:3.13.9-slim-trixie
LABEL io.modelcontextprotocol.server.name="co.timetopost/ttp-mcp" \
      org.opencontainers.image.title="ttp-mcp" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /app /app
COPY deploy/healthcheck.py /app/healthcheck.py
# The ledger and the sandbox's data. A numeric user, so that Kubernetes can see that it is not root.
RUN install -d -o 10001 -g 10001 -m 0700 /data
ENV PATH=/app/bin:$PATH \
    TTP_STATE_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=15s CMD ["python", "/app/healthcheck.py"]
ENTRYPOINT ["ttp-mcp"]
