#!/bin/sh
# Runs the nightly job and prints only when a person should look; cron mails what is printed.
cd "$(dirname "$0")/../.." || exit 2

# A file of mode 0600 with the line MYROUTER_API_KEY=…; the key stands neither in the crontab nor in the manifest.
set -a
# shellcheck source=/dev/null
. "${RETOUCH_ENV:-/etc/retouch/key.env}"
set +a

# --quiet: errors and one summary line.
said=$(retouch run "${RETOUCH_JOB:-jobs/nightly.yaml}" --quiet "$@" 2>&1)
code=$?

case $code in
0) ;;       # everything is done
11) ;;      # stopped at stop_on.duration; the next run goes on
4) echo "The endpoint was down or throttled for long. The next run tries again." ;;
130 | 143) echo "Interrupted. The next run goes on." ;;
8) echo "Another run still holds the output folder. Is one hanging?" ;;
3 | 9) echo "Finished, but some photos need a decision: retouch status ${RETOUCH_JOB:-jobs/nightly.yaml} --failed" ;;
*) echo "Stopped with exit code $code; nothing goes on until a person has looked." ;;
esac
case $code in 0 | 11) ;; *) printf '%s\n' "$said" ;; esac
exit "$code"
