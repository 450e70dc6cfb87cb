# `just` lists the commands; `just check` is the whole gate, as .ci/run calls it.

default:
    @just --list

# Format and lint, and fix what can be fixed automatically.
fix:
    uv run ruff format .
    uv run ruff check --fix .

# Style, types, layers, readability, generated files.
lint:
    uv run ruff format --check .
    uv run ruff check .
    uv run basedpyright
    uv run lint-imports
    uv run python scripts/check_style.py
    uv run python scripts/generate.py --check

# The tests; arguments go to pytest: just test -k posts
test *arguments:
    uv run pytest -n auto {{arguments}}

# The tests with coverage of lines and branches; arguments go to pytest: just coverage tests/writes
coverage *arguments:
    uv run pytest -n auto -m "not slow" --cov --cov-report=term {{arguments}}

# Renew snapshots; read the diff as an agent would.
snapshots:
    uv run pytest tests/tools/test_snapshots.py --update-snapshots

# Renew everything that is generated from the code.
docs:
    uv run python scripts/generate.py

# The acceptance table in its full size (about half an hour).
acceptance:
    TTP_ACCEPTANCE=full uv run pytest -m acceptance -s

# Figures beside a bare SDK server; see benchmarks/README.md.
bench *arguments:
    uv run python benchmarks/run.py {{arguments}}

# The MCPB bundle.
mcpb:
    uv run python scripts/mcpb.py

# Everything that a release publishes, from the commit that is checked out (docs/releasing.md).
release *arguments:
    uv run python scripts/release.py {{arguments}}

# The bill of materials (CycloneDX).
sbom:
    uv run python scripts/sbom.py

# Small changes of one module that its tests must notice: just mutants ledger/claims (minutes; none: the list).
mutants *module:
    uv run python scripts/mutants.py {{module}}

# The official conformance suites and other judges; --write renews docs/conformance.md.
conformance *arguments:
    .ci/conformance {{arguments}}

# The tests on CPython for Windows under Wine: just windows tests/media (none: those of the gate).
windows *arguments:
    .ci/windows {{arguments}}

# What is shipped: wheel, sdist, bundle, image, manifests, clients.
packages:
    .ci/packages

# Scanners.
scan:
    .ci/scan

# Everything that must hold before a change is merged.
check: lint coverage
