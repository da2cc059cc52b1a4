# Runs inside the guest, in a unit of its own, beside a freeze of its file systems.
#
#   $dir/arm     made by csbs just before it freezes: from here on $armed_cs until the thaw
#   $dir         removed by csbs when all is over: then the watchdog ends
#   $dir/longest how long a writer had to wait at most, in hundredths of a second
#
# When csbs, the host or the agent do not thaw in time, it does so itself, again and again, since
# a freeze that the agent had queued may come late.
dir=$1 armed_cs=$2 life_cs=$3

now() {
    read -r t _ < /proc/uptime
    t=${t%.*}${t#*.}
}

thaw() {
    while read -r device mount _; do
        case $device in
            /dev/*) fsfreeze --unfreeze "$(printf '%b' "$mount")" ;;
        esac
    done < /proc/self/mounts > /dev/null 2>&1
}

measure() {
    # A file of our own: a user's link in a folder that all may write to is not followed.
    probe=$(mktemp /var/tmp/csbs-freeze.XXXXXX) || return
    longest=0
    while [ -e "$dir/ready" ]; do
        now; began=$t
        : > "$probe"
        now; waited=$((t - began))
        [ $waited -le $longest ] || { longest=$waited; echo $longest > "$dir/longest"; }
        sleep 0.05
    done
    rm -f "$probe"
}

now; end=$((t + life_cs)) due=
: > "$dir/ready"
measure 2> /dev/null &
while [ -e "$dir/ready" ]; do
    now
    if [ -e "$dir/arm" ]; then
        rm -f "$dir/arm"
        due=$((t + armed_cs)) end=$((t + life_cs))
    fi
    if [ -n "$due" ] && [ $t -ge $due ]; then
        thaw
        sleep 0.5
    fi
    [ $t -lt $end ] || rm -rf "$dir"
    sleep 0.05
done
