#!/bin/sh
# Two drivers share one sweep through a registry service on this machine. Each has its own files and its own Ray.
set -eu
cd "$(dirname "$0")"
port=8811
python -m metta_sweep serve --host 127.0.0.1 --port "$port" --database-url "sqlite:///$PWD/registry.db" &
service=$!
trap 'kill "$service"' EXIT
until python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$port/health')" 2>/dev/null; do
  kill -0 "$service" # ends this script if the service has ended, such as for a port that is taken
  sleep 1
done

drive() {
  python -m metta_sweep run sweep_name=shared sweep=shared "data_dir=$1" resources.max_concurrent_runs=1 -v \
    "settings.sweep_server_uri=http://127.0.0.1:$port"
}
drive first &
first=$!
drive second
wait "$first"
python -m metta_sweep status sweep_name=shared "settings.sweep_server_uri=http://127.0.0.1:$port"
