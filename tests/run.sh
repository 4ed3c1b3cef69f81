#!/bin/sh
# Every check, in the order in which it fails fastest. The first argument is the virtual environment's bin folder.
set -eu
bin=$1

echo '== ruff'
"$bin/ruff" check .
"$bin/ruff" format --check --quiet .
echo '== mypy --strict'
"$bin/mypy"
echo '== import-linter'
"$bin/lint-imports" --no-logo

echo '== pytest'
browser=
for name in chromium chromium-browser google-chrome google-chrome-stable; do
  if command -v "$name" >/dev/null 2>&1; then
    browser=$name
    break
  fi
done
if [ -n "$browser" ]; then
  "$bin/python" -m pytest -q
else
  "$bin/python" -m pytest -q -m 'not browser'
  echo 'The browser tests were left out: there is no Chromium here (on Debian: sudo apt install chromium).'
fi
