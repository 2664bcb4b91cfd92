#!/usr/bin/env bash
# Wait until the provider says that this spot machine will be taken away, then ask Ray to drain the node: runs
# checkpoint and move.
#   watch_preemption.sh aws|gcp HEAD:PORT
set -uo pipefail
provider=${1:?usage: watch_preemption.sh aws|gcp HEAD:PORT} address=${2:?usage: watch_preemption.sh aws|gcp HEAD:PORT}
metadata=${METADATA_URL:-http://169.254.169.254}

# AWS answers 404 until the notice, two minutes before the end; each answer needs a session token.
aws_notice() {
  token=$(curl -sf -m 2 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/latest/api/token") || return 1
  curl -sf -m 2 -o /dev/null -H "X-aws-ec2-metadata-token: $token" "$metadata/latest/meta-data/spot/instance-action"
}

# Google answers TRUE from thirty seconds before the end.
gcp_notice() {
  [ "$(curl -sf -m 2 -H 'Metadata-Flavor: Google' "$metadata/computeMetadata/v1/instance/preempted")" = TRUE ]
}

case $provider in
  aws) notice=aws_notice seconds=110 ;;
  gcp) notice=gcp_notice seconds=25 ;;
  *) echo "no preemption notice is known for $provider" >&2; exit 2 ;;
esac

until "$notice"; do sleep "${POLL_SECONDS:-2}"; done
exec ray drain-node --address="$address" --reason=DRAIN_NODE_REASON_PREEMPTION \
  --reason-message="$provider takes this spot machine away" --deadline-remaining-seconds="$seconds"
