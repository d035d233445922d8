#!/bin/sh
# Runs all suites that kill processes, for a long time: `tests/long_kills.sh [kills for each test] [rounds]`.
#
# The default is some ten thousand kills, and ten thousand more in one process that counts what is left of them. A test may
# take a minute, which limits the kills for each; the seeds of tests that fail are in their output.
set -eu
cd "$(dirname "$0")/.."
kills=${1:-200}
rounds=${2:-3}
suites='arena_kill channel_kill fd_kill pool_kill pool_kill_changes queue_kill sync_kill wait_kill'
arguments=''
for suite in $suites; do
    arguments="$arguments --test $suite"
done
total=0
for round in $(seq "$rounds"); do
    # shellcheck disable=SC2086 # the suites are words
    if ! output=$(MP_KILLS=$kills cargo test --release -p multiproc-tests $arguments 2>&1); then
        echo "$output"
        exit 1
    fi
    tests=$(echo "$output" | sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' | paste -sd+ | bc)
    total=$((total + tests * kills))
    echo "round $round: $tests tests with $kills kills each, $total in all"
done
MP_KILLS=10000 cargo test --release -p multiproc-tests --test arena_many_deaths -- --nocapture
cargo test --release -p multiproc-tests --test pool_kill ten_thousand -- --ignored --nocapture
