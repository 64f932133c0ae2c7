# shellcheck shell=bash
# How long after its arrival a waiting laptop has its first byte acknowledged, step by step. Argument: direct (as P2P
# client, beside its own network) or station. The laptop "arrives" when the hub's adapter wakes up: before that nothing
# of the hub is in the air, and at once its beacon is.
# shellcheck source=SCRIPTDIR/../guest/programs disable=SC2154
. "$guest/programs"

VISITS=3
MEDIAN_MAX_S=8
SUSPEND=/sys/kernel/debug/bluetooth/hci0/force_suspend
STEPS=(found connected handshake group joined link first_byte)

# asleep Y|N: the hub's adapter, as in a hub that sleeps. Its advertisement stays with the kernel.
asleep() { [ "$(<$SUSPEND)" = "$1" ] || echo "$1" >$SUSPEND; }

# What the agent has said: its log has times, what it says of visits has not.
said() { grep "$1" /out/agent.log || true; }
count() { said "$1" | wc -l; }
# To look more often would slow down what is looked at.
visit_ends() { sleep 1; [ "$(count '"event":"visit"')" -gt "$1" ]; }

begins() { [ "$(count '"visit begins"')" -gt "$1" ]; }
listens() { [ "$(adapter hci1 Discovering)" = "b true" ]; }

# btvirt tells of an advertisement when it begins or a scan does, and a scan that begins may not be ready for that. An
# adapter tells it again and again: so here it begins again every second.
is_heard() { begins "$1" || { sleep 1; begins "$1" || { asleep Y; asleep N; }; return 1; }; }

# Some seconds after a laptop has gone the hub renews its advertisement, be it asleep or not.
goes_away() { sleep 5 && within 20 advertises 1 && asleep Y; }

# One visit, once the agent may visit again, from its arrival until the laptop is away again. Leaves a line of
# /run/lab/visits: when which step was reached, in seconds since the arrival.
visit() {
    local visits arrived began ended times step after_ms
    new_file 5
    while [ "$SECONDS" -lt "$due" ]; do sleep 1; done
    visits=$(count '"event":"visit"')
    not begins "$visits" || return 1
    due=$((SECONDS + 66))
    arrived=$EPOCHREALTIME
    asleep N
    [ "$1" = station ] || ping_home
    within 30 is_heard "$visits" && within 60 visit_ends "$visits" && ping_ends || return 1
    began=$(said '"visit begins"' | tail -n 1 | sed 's/.*"timestamp":"\([^"]*\)".*/\1/')
    began=$(date -d "$began" +%s.%N)
    ended=$(said '"event":"visit"' | tail -n 1)
    grep '"kind":"complete"' <<<"$ended" && goes_away || return 1
    for step in "${STEPS[@]}"; do
        after_ms=$(sed -n "s/.*\"${step}_ms\":\([0-9]*\).*/\1/p" <<<"$ended") && [ -n "$after_ms" ] || return 1
        times+=" $(awk -v from="$arrived" -v to="$began" -v ms="$after_ms" 'BEGIN { print to - from + ms / 1000 }')"
    done
    echo "$times" >>/run/lab/visits
    tell_steps "$times"
}

# The way into the group, as `berth status` tells it after those that failed.
went_by() { berth --json status | grep "],\"way\":\"$1\"}"; }

# In words: how long each step took, and all of them.
tell_steps() {
    awk -v names="${STEPS[*]}" -v times="$1" 'BEGIN {
        count = split(names, name, " "); split(times, time, " ")
        for (step = 1; step <= count; step++) {
            sub("_", " ", name[step])
            printf "%s%s %.1f s", step == 1 ? "lab: " : ", ", name[step], time[step] - before
            before = time[step]
        }
        printf "; in all %.1f s\n", before
    }' >&3
}

# The median of each step's own time, and whether that of the whole is within the promise.
median_is_kept() {
    awk -v names="${STEPS[*]}" -v most=$((MEDIAN_MAX_S * LAB_SLOW)) '
        function median(values, count,    i, j, kept) {
            for (i = 2; i <= count; i++)
                for (j = i; j > 1 && values[j - 1] > values[j]; j--) {
                    kept = values[j]; values[j] = values[j - 1]; values[j - 1] = kept
                }
            return count % 2 ? values[(count + 1) / 2] : (values[count / 2] + values[count / 2 + 1]) / 2
        }
        { for (step = 1; step <= NF; step++) took[step, NR] = $step - (step == 1 ? 0 : $(step - 1)); all[NR] = $NF }
        END {
            count = split(names, name, " ")
            printf "lab: medians:"
            for (step = 1; step <= count; step++) {
                for (row = 1; row <= NR; row++) one[row] = took[step, row]
                sub("_", " ", name[step])
                printf " %s %.1f s,", name[step], median(one, NR)
            }
            whole = median(all, NR)
            printf " in all %.1f s of %d s\n", whole, most
            exit !(NR > 0 && whole < most)
        }' /run/lab/visits >&3
}

fact "hub and laptop have their daemons" lab 3
[ "$1" = direct ] || echo p2p_disabled=1 >>/run/lap.conf
fact "the programs run" programs
fact "there is a network that the laptop is on all day" home
fact "the laptop is on it" go_home
fact "they pair by the code" pair
fact "the laptop goes away" goes_away
echo 'interval_minutes = 1' >>/run/lap/state/settings.toml
daemon agent berth --json agent
fact "the laptop waits" within 60 listens
due=0
for ((number = 1; number <= VISITS; number++)); do
    fact "it arrives, all is backed up, and it goes away" visit "$1"
done
fact "the median arrival is soon enough" median_is_kept
[ "$1" = station ] || fact "its own network has lost few pings" lost_at_most 5
if [ "$1" = direct ]; then way=wifi_direct; else way=supplicant; fi
fact "berth status tells the way into the hub's group" went_by "$way"
fact "the agent ends" stop agent TERM
fact "the laptop is on its own network" within 20 home_answers
fact "nothing of the visits is left" within 20 nothing_left
