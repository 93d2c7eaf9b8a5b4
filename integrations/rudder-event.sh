#!/bin/sh
# Sends one CloudEvent to the gateway of rudder-worker: rudder-event.sh TYPE, or EVENT_TYPE=… rudder-event.sh
# TYPE is an event type (deployment.started) or the status word of a CI system (success, FAILURE, canceled, Succeeded).
# It needs curl and the usual tools of POSIX. Exit codes: 0 accepted; 1 refused, or not delivered in time; 2 wrong usage.
#   GATEWAY_URL                 https://gateway.example.com
#   GATEWAY_TOKEN               the secret of a key; or GATEWAY_TOKEN_FILE, a path
#   GATEWAY_RETRY_SECONDS       how long it is sent again while there is no answer, or 408, 429 or 5xx (120)
#   EVENT_ORGANIZATION, EVENT_ENVIRONMENT
#   EVENT_RELEASE               a UUID, or any unique name: its UUIDv5 (default: source, commit and component)
#   EVENT_COMPONENT, EVENT_PROJECT   UUIDs. With both, an unknown release is created, from these too:
#   EVENT_TRACK (main), EVENT_RELEASE_DATE (today, UTC), EVENT_RELEASE_NUMBER (the pipeline's), EVENT_COMMIT, EVENT_IMAGE_TAG
#   EVENT_ACTOR, EVENT_COMMENT, EVENT_ATTEMPT, EVENT_CONFIG_REVISION
#   EVENT_DATA                  further members of the data, a JSON object
#   EVENT_SOURCE, EVENT_RUN, EVENT_TIME   default: the CI system's, and now
set -eu
LC_ALL=C
export LC_ALL

fail() { # exit code, message
  if [ "${GITHUB_ACTIONS-}" = true ]; then
    printf '::error title=rudder-worker::%s\n' "$(printf %s "$2" | sed 's/%/%25/g')"
  else
    printf 'rudder-event: %s\n' "$2" >&2
  fi
  exit "$1"
}

text() { # a JSON string; line ends are kept, other control characters are not
  printf '"%s"' "$(printf %s "$1" | tr '\t\r' '  ' | tr -d '\000-\011\013-\037\177' |
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' | awk 'NR > 1 { printf "%s", "\\n" } { printf "%s", $0 }')"
}

member() { # name, value: `"name":"value",`, or nothing for an empty value
  [ -z "$2" ] || printf '"%s":%s,' "$1" "$(text "$2")"
}

number() { # name, value
  case $2 in
    '') ;;
    *[!0-9]*) printf '"%s":%s,' "$1" "$(text "$2")" ;; # the gateway refuses it, and names it
    *) printf '"%s":%s,' "$1" "$2" ;;
  esac
}

sha1() {
  if command -v sha1sum >/dev/null; then sha1sum; elif command -v shasum >/dev/null; then shasum; else openssl dgst -sha1 -r; fi
}

uuid5() { # of a name, in the namespace of URLs (RFC 9562): uuid.uuid5(uuid.NAMESPACE_URL, name) of Python
  digest=$({ printf '\153\247\270\021\235\255\021\321\200\264\000\300\117\324\060\310'; printf %s "$1"; } | sha1 | cut -c 1-32)
  variant=$(printf %x $((0x$(printf %s "$digest" | cut -c 17) & 3 | 8)))
  printf %s "$digest" | sed "s/^\(.\{8\}\)\(.\{4\}\).\(.\{3\}\).\(.\{3\}\)\(.\{12\}\)/\1-\2-5\3-$variant\4-\5/"
}

type=${1:-${EVENT_TYPE-}}
case $type in
  '') fail 2 "usage: rudder-event.sh TYPE, such as deployment.succeeded; or set EVENT_TYPE" ;;
  success | SUCCESS | Succeeded | Completed | UNSTABLE) type=deployment.succeeded ;;
  failure | FAILURE | failed | Failed) type=deployment.failed ;;
  cancelled | canceled | ABORTED | NOT_BUILT | None) type=deployment.cancelled ;;
  *) type=${type#dev.rudder.} type=${type%.v1} ;;
esac

# The run of the job, as `rudder-worker publish` finds it: a step that is repeated within its job has the same id.
source='' run='' commit='' actor='' count=''
if [ "${GITHUB_ACTIONS-}" = true ]; then
  source=${GITHUB_REPOSITORY:+${GITHUB_SERVER_URL:-https://github.com}/$GITHUB_REPOSITORY}
  run=${GITHUB_RUN_ID:+$GITHUB_RUN_ID/${GITHUB_RUN_ATTEMPT:-1}/${GITHUB_JOB-}}
  commit=${GITHUB_SHA-} actor=${GITHUB_ACTOR-} count=${GITHUB_RUN_NUMBER-}
elif [ -n "${GITLAB_CI-}" ]; then
  source=${CI_PROJECT_URL-} run=${CI_JOB_ID-}
  commit=${CI_COMMIT_SHA-} actor=${GITLAB_USER_LOGIN-} count=${CI_PIPELINE_IID-}
elif [ -n "${JENKINS_URL-}${JENKINS_HOME-}" ]; then
  source=${JOB_URL:-${JOB_NAME:+/jenkins/$JOB_NAME}} source=${source%/} run=${BUILD_NUMBER-}
  commit=${GIT_COMMIT-} actor=${BUILD_USER_ID-} count=$run
fi
source=${EVENT_SOURCE:-$source} run=${EVENT_RUN:-$run} commit=${EVENT_COMMIT:-$commit} actor=${EVENT_ACTOR:-$actor}
component=${EVENT_COMPONENT-} environment=${EVENT_ENVIRONMENT-}
release=${EVENT_RELEASE:-${commit:+$source/commit/$commit${component:+/$component}}}
if [ -n "${GATEWAY_TOKEN_FILE-}" ]; then
  GATEWAY_TOKEN=$(cat "$GATEWAY_TOKEN_FILE") || fail 2 "GATEWAY_TOKEN_FILE cannot be read"
fi
GATEWAY_TOKEN=$(printf %s "${GATEWAY_TOKEN-}") # without the line end that some secrets have

missing=''
[ -n "${GATEWAY_URL-}" ] || missing="$missing GATEWAY_URL"
[ -n "$GATEWAY_TOKEN" ] || missing="$missing GATEWAY_TOKEN"
[ -n "${EVENT_ORGANIZATION-}" ] || missing="$missing EVENT_ORGANIZATION"
[ -n "$source" ] || missing="$missing EVENT_SOURCE"
[ -n "$run" ] || missing="$missing EVENT_RUN"
[ -n "$release" ] || missing="$missing EVENT_RELEASE"
case $type in deployment.*) [ -n "$environment" ] || missing="$missing EVENT_ENVIRONMENT" ;; esac
[ -z "$missing" ] || fail 2 "$type was not sent; not set:$missing"
case $GATEWAY_TOKEN in
  *[[:cntrl:]]* | *[\"\\]*) fail 2 "GATEWAY_TOKEN has a quotation mark, a backslash or a control character" ;;
esac
further=${EVENT_DATA-}
if [ -n "$further" ]; then
  further=$(printf %s "$further" | tr '\n' ' ' | sed -e 's/^ *//' -e 's/ *$//')
  case $further in '{'*'}') ;; *) fail 2 "EVENT_DATA is not a JSON object" ;; esac
  further=$(printf %s "$further" | sed -e 's/^{ *//' -e 's/ *}$//')
fi

if printf %s "$release" | grep -Eqix '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'; then
  release_id=$(printf %s "$release" | tr A-F a-f)
else
  release_id=$(uuid5 "$release")
fi
fields=''
if [ -n "$component" ] && [ -n "${EVENT_PROJECT-}" ]; then
  fields=$(
    member project_id "$EVENT_PROJECT"
    member component_id "$component"
    member deployment_track_id "${EVENT_TRACK:-main}"
    member release_date "${EVENT_RELEASE_DATE:-$(date -u +%Y-%m-%d)}"
    number release_number "${EVENT_RELEASE_NUMBER:-$count}"
    member created_by "${actor:-$source}"
    member commit_hash "$commit"
    member image_tag "${EVENT_IMAGE_TAG-}"
  )
fi
data=$(
  member release_id "$release_id"
  member organization_id "$EVENT_ORGANIZATION"
  case $type in deployment.* | activity.*)
    member environment_id "$environment"
    number attempt "${EVENT_ATTEMPT-}"
    number config_revision "${EVENT_CONFIG_REVISION-}"
    ;;
  esac
  member actor "$actor"
  member comment "${EVENT_COMMENT-}"
  case $type in
    deployment.*) [ -z "$fields" ] || printf '"release":{%s},' "${fields%,}" ;;
    release.created) printf %s "$fields" ;;
  esac
  printf %s "$further"
)
digest=$(uuid5 "$source
$run
$type
$release_id
$environment
${EVENT_CONFIG_REVISION:-1}
${EVENT_ATTEMPT-}
$further")
[ ${#run} -le 120 ] || run=$(uuid5 "$run")

command -v curl >/dev/null || fail 2 "$type was not sent: there is no curl"
folder=$(mktemp -d) || fail 1 "$type was not sent: mktemp failed"
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
printf '{"specversion":"1.0","id":%s,"source":%s,"type":"dev.rudder.%s.v1","time":"%s","data":{%s}}\n' \
  "$(text "$run/$type/$digest")" "$(text "$source")" "$type" "${EVENT_TIME:-$(date -u +%Y-%m-%dT%H:%M:%SZ)}" "${data%,}" \
  >"$folder/event"

deadline=$(($(date +%s) + ${GATEWAY_RETRY_SECONDS:-120})) delay=1
while :; do
  : >"$folder/answer"
  : >"$folder/head"
  code=0 # the token is read from standard input: arguments are visible to other users of the machine
  status=$(printf 'header = "Authorization: Bearer %s"\n' "$GATEWAY_TOKEN" |
    curl --config - --silent --show-error --proto =http,https --connect-timeout 10 --max-time 30 \
      --header 'Content-Type: application/cloudevents+json' --data-binary "@$folder/event" \
      --dump-header "$folder/head" --output "$folder/answer" --write-out '%{http_code}' \
      "${GATEWAY_URL%/}/events" 2>"$folder/errors") || code=$?
  answer=$(tr '\n\r' '  ' <"$folder/answer" | cut -c 1-2000)
  case $code/$status in
    0/202) break ;;
    1/* | 3/* | 60/* | 77/*) fail 1 "$type was not sent: $(tr '\n' ' ' <"$folder/errors")" ;; # URL or certificate
    0/408 | 0/429 | 0/5??) problem="the gateway answered $status: $answer" ;;
    0/*) fail 1 "$type was refused with $status: $answer" ;;
    *) problem=$(tr '\n' ' ' <"$folder/errors") ;;
  esac
  after=$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]\{1,4\}\)[^0-9]*$/\1/p' "$folder/head" | tail -n 1)
  [ "${after:-0}" -le "$delay" ] || delay=$after
  if [ $(($(date +%s) + delay)) -gt "$deadline" ]; then
    fail 1 "$type was not delivered within ${GATEWAY_RETRY_SECONDS:-120} s: $problem"
  fi
  printf 'rudder-event: sent again in %s s: %s\n' "$delay" "$problem" >&2
  sleep "$delay"
  delay=$((delay * 2))
  [ "$delay" -le 16 ] || delay=16
done
printf '%s accepted; release %s\n' "$type" "$release_id"
if [ -n "${GITHUB_OUTPUT-}" ]; then printf 'release-id=%s\n' "$release_id" >>"$GITHUB_OUTPUT"; fi
