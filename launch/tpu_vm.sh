#!/usr/bin/env bash
# Runs main on every host of a Cloud TPU, and creates the TPU if it is not
# there. The arguments are main's:
#
#   NAME=yolo ZONE=us-west4-a TYPE=v5litepod-16 \
#     launch/tpu_vm.sh --config=experiments/coco.py:full,folder=/data --workdir=/data/runs/coco
#
# When the TPU is taken away, another one is asked for and the run goes on from
# its checkpoint. So data and workdir must be on a file system that outlives the
# TPU and that all its hosts share, mounted by $MOUNT on each of them.
#
#   NAME, ZONE, TYPE  of the queued resource; e.g. v5litepod-16, v6e-8
#   RUNTIME           software of its hosts
#   SPOT              1: cheaper, may be taken away at any time
#   MOUNT             a command for every host, each time before main
#   RESTARTS          how often to go on after an interruption
#
# Delete the TPU when it is no longer needed; nothing else does:
#   gcloud compute tpus queued-resources delete NAME --zone=ZONE --force
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${NAME:?name of the TPU}" "${ZONE:?e.g. us-west4-a}" "${TYPE:?e.g. v5litepod-16}"
case $TYPE in
  v5litepod*) default=v2-alpha-tpuv5-lite ;;
  v6e*) default=v2-alpha-tpuv6e ;;
  *) default=tpu-ubuntu2204-base ;;
esac
RUNTIME=${RUNTIME:-$default}
TRY_AGAIN=75

dry=
words=
for argument in "$@"; do
  if [[ $argument == --dry-run ]]; then
    dry=1
  else
    words+=$(printf ' %q' "$argument")
  fi
done

run() {
  if [[ $dry ]]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

state() {
  local text
  if text=$(gcloud compute tpus queued-resources describe "$NAME" \
    --zone="$ZONE" --format='value(state.state)' 2>&1); then
    echo "$text"
  elif [[ $text == *NOT_FOUND* ]]; then
    echo MISSING
  else
    echo "$text" >&2
    echo UNKNOWN
  fi
}

# Waits until the TPU is there; one that was taken away is asked for again.
provide() {
  local now=MISSING
  while true; do
    if [[ -z $dry ]]; then now=$(state); fi
    case $now in
      ACTIVE) return ;;
      SUSPENDED | FAILED)
        run gcloud compute tpus queued-resources delete "$NAME" \
          --zone="$ZONE" --force --quiet
        ;;
      MISSING)
        run gcloud compute tpus queued-resources create "$NAME" \
          --node-id="$NAME" --zone="$ZONE" --accelerator-type="$TYPE" \
          --runtime-version="$RUNTIME" ${SPOT:+--spot}
        ;;
    esac
    if [[ $dry ]]; then return; fi
    sleep 30
  done
}

on_all_hosts() {
  run gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker=all \
    --command="$1"
}

# What a lost connection has left running saves its state first.
stop="pkill -TERM -f '[y]olo9000.main'; while pgrep -f '[y]olo9000.main' >/dev/null; do sleep 2; done"
unpack="mkdir -p yolo9000 && tar xzf /tmp/yolo9000.tar.gz -C yolo9000"
python="command -v python3.12 || command -v python3.11 || sudo apt-get -qq install -y python3.11-venv"

code=$TRY_AGAIN
for ((try = 0; try <= ${RESTARTS:-20}; try++)); do
  provide
  code=0
  {
    # The commit that is checked out, and nothing else.
    run git archive --format=tar.gz --output=/tmp/yolo9000.tar.gz HEAD &&
      run gcloud compute tpus tpu-vm scp /tmp/yolo9000.tar.gz \
        "$NAME:/tmp/yolo9000.tar.gz" --zone="$ZONE" --worker=all &&
      on_all_hosts "$stop; $unpack && ($python)${MOUNT:+ && $MOUNT}" &&
      on_all_hosts "EXTRA=tpu yolo9000/launch/worker.sh --distributed=auto$words"
  } || code=$?
  if [[ $dry || $code == 0 ]]; then exit 0; fi
  # An error of the run on a TPU that is there is not mended by another try. It
  # takes a while to be seen that one is not there any more.
  case $code in
    "$TRY_AGAIN" | 134 | 137 | 143 | 255) ;; # 255: ssh lost the host
    *)
      sleep 60
      if [[ $(state) == ACTIVE ]]; then exit "$code"; fi
      ;;
  esac
  echo "ended with $code; again" >&2
done
exit "$code"
