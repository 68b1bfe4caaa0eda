#!/usr/bin/env bash
# Starts nginx with example/nginx.conf, changes a value several times, and checks after each change that all workers
# have the new one. In between it kills a worker and reloads nginx. At the end it stops nginx and removes all files.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
nginx=${NGINX_BINARY:-/usr/sbin/nginx}
modules=${NGINX_MODULES:-/usr/lib/nginx/modules}
folder=$(mktemp -d)
chmod 755 "$folder"

load=
for module in ndk_http_module.so ngx_http_lua_module.so; do
    [ ! -e "$modules/$module" ] || load+="load_module $modules/$module; "
done
lib=$(realpath "$here/../lib")
sed "s#@FOLDER@#$folder#g; s#@LIB@/?.lua#$lib/?.lua;${NGINX_LUA_PATH:-}#; s#@MODULES@#$load#" "$here/nginx.conf" \
    >"$folder/nginx.conf"

run() { "$nginx" -p "$folder" -c "$folder/nginx.conf" -e "$folder/error.log" "$@" 2>>"$folder/out.log"; }
get() { curl -sS --max-time 100 --unix-socket "$folder/nginx.sock" "http://localhost$1"; }

finish() {
    run -s quit || cat "$folder/out.log"
    while [ -e "$folder/nginx.pid" ]; do sleep 0.1; done
    grep -o "the nightly job runs in [0-9]*" "$folder/error.log" || true
    rm -rf "$folder"
}

stale=0 changes=0

# Asks until each of the four workers has answered. Counts the answers that are older than the last change.
check() {
    local expected=$1 answers=0 pid value
    declare -A seen=()
    while [ "${#seen[@]}" -lt 4 ] && [ $answers -lt 1000 ]; do
        # Several requests at a time reach more than one worker.
        while read -r pid value; do
            seen[$pid]=1 answers=$((answers + 1))
            [ "$value" -ge "$expected" ] || stale=$((stale + 1))
        done < <(for _ in 1 2 3 4 5 6 7 8; do get "/value?key=user:42" & done; wait)
    done
    printf 'value %s in the workers %s\n' "$expected" "${!seen[*]}"
}

change() {
    changes=$((changes + 1))
    check "$(get "/change?key=user:42")"
}

run
trap finish EXIT
check 0
change
master=$(<"$folder/nginx.pid")
read -r victim _ < <(cat "/proc/$master/task/$master/children"; echo)
echo "kill -9 $victim"
kill -9 "$victim"
sleep 0.2
change
echo "reload"
run -s reload
sleep 0.5
change
change
echo "example: workers=4 changes=$changes stale=$stale"
[ $stale = 0 ]
