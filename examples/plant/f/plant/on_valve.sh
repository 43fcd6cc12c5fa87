# The payload is the text of the JSON; the last line, or result.json, is the result.
payload="$1"
echo "the valve in the $RUN_CAPTURE_site says $payload" >&2
printf '{"site": "%s", "valve": %s}\n' "$RUN_CAPTURE_site" "$payload" >result.json
