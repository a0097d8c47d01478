#!/usr/bin/env bash
# What every process on every host runs: the environment, then main with the
# same arguments. Exits with main's code; 75 means nothing is wrong, start me
# again.
#
#   PYTHON          of an environment that is there; otherwise .venv beside the
#                   code is made, once per host
#   EXTRA           what that installs beside the package: tpu, cuda (default
#                   none)
#   XDG_CACHE_HOME  below it, compiled programs are kept. Only the first process
#                   writes there; in a folder that all hosts share the others
#                   find them too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ -z ${PYTHON:-} ]]; then
  PYTHON=$PWD/.venv/bin/python
  (
    flock 9 # several processes of a host, one installation
    if [[ ! -e .venv/complete ]]; then
      for python in python3.12 python3.11 python3; do
        if command -v "$python" >/dev/null; then break; fi
      done
      "$python" -m venv .venv
      "$PYTHON" -m pip install --quiet -e ".${EXTRA:+[$EXTRA]}"
      touch .venv/complete
    fi
  ) 9>.venv.lock
fi
command=("$PYTHON" -m yolo9000.main "$@")
for argument in "$@"; do
  if [[ $argument == --dry-run ]]; then
    printf '%q ' "${command[@]}"
    echo
  fi
done
exec "${command[@]}"
