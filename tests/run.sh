#!/bin/sh
# Every check, in the order in which it fails fastest. The first argument is the virtual environment's bin folder.
# Two processes share the work wherever a tool can do that: a machine with two cores has the most use of them.
set -eu
bin=$1

echo '== ruff'
"$bin/ruff" check .
"$bin/ruff" format --check --quiet .
echo '== import-linter'
"$bin/lint-imports" --no-logo
echo '== mypy --strict'
"$bin/mypy" --num-workers 2

echo '== pytest'
browser=
for name in chromium-headless-shell chromium chromium-browser google-chrome google-chrome-stable; do
  if command -v "$name" >/dev/null 2>&1; then
    browser=$name
    break
  fi
done
# Three processes, for some tests wait. Whoever is done first takes over half of what another has left, so neighbours
# mostly stay together and share what is made for a module.
if [ -n "$browser" ]; then
  "$bin/python" -m pytest -q --numprocesses 3 --dist worksteal
else
  "$bin/python" -m pytest -q --numprocesses 3 --dist worksteal -m 'not browser'
  echo 'The browser tests were left out: there is no Chromium here (on Debian: sudo apt install chromium-headless-shell).'
fi
