#!/usr/bin/env bash
# End the Ray processes whose session lies in or under DIR, and only those.
#   stop.sh DIR
set -uo pipefail
directory=${1:?usage: stop.sh DIR}

# Ray's daemons name their session directory on their command line; its workers end with their raylet.
members() {
  for entry in /proc/[0-9]*; do
    pid=${entry#/proc/}
    [ "$pid" = "$$" ] || [ ! -O "$entry" ] && continue
    line=$(tr '\0' ' ' < "$entry/cmdline" 2>/dev/null)
    [[ $line =~ $directory/([^\ ]*/)?session_ ]] && echo "$pid"
  done
}

for signal in TERM KILL; do
  pids=$(members)
  [ -z "$pids" ] && exit 0
  # shellcheck disable=SC2086  # one argument a process
  kill -s "$signal" $pids 2>/dev/null
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -z "$(members)" ] && exit 0
    sleep 0.5
  done
done
