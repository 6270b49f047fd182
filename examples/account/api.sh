#!/bin/sh
# Uses the account example as an app does, with a bearer token. First register a user in the browser, then run:
#
#     sh examples/account/api.sh http://localhost:8000 NAME PASSWORD
set -eu
site=$1
login="{\"username\":\"$2\",\"password\":\"$3\"}"
json='Content-Type: application/json'

# `Bearer none` tells the site that the client is an app, so the id is returned in a header, not in a cookie.
token=$(curl -fsS -o /dev/null -w '%header{x-session-id}' -H 'Authorization: Bearer none' -H "$json" -d "$login" "$site/api/login")
curl -fsS -w '\n' -H "Authorization: Bearer $token" "$site/api/me"
curl -fsS -w '\n' -H "Authorization: Bearer $token" "$site/api/devices"
curl -fsS -X POST -H "Authorization: Bearer $token" -H "$json" "$site/api/logout"
curl -sS -o /dev/null -w 'after the logout: %{http_code}\n' -H "Authorization: Bearer $token" "$site/api/me"
