# shellcheck shell=bash
# A visit is interrupted in the middle by the end of one of its programs or daemons, which then runs again: the next
# visit goes on, and nothing of the first one is left. Argument: berthd, berth, bluetoothd, hub (its wpa_supplicant),
# lap (its wpa_supplicant) or power (the hub's).
# shellcheck source=SCRIPTDIR/../guest/programs disable=SC2154
. "$guest/programs"

interrupt() {
    case $1 in
    berthd) restart_hub ;;
    berth) stop backup ;;
    bluetoothd) restart_bluetoothd ;;
    hub | lap) restart_wpa_supplicant "$1" ;;
    esac
}
# The laptop's connection still stands when the hub advertises again, under a number that it never had: the kernel goes
# on with the number by which the laptop came.
restart_hub() {
    pkill -STOP -x berth
    stop berthd && within 10 advertises 0 &&
        daemon other-1 advertise_too && daemon other-2 advertise_too && within 15 advertises 2 &&
        start_hub && within 15 advertises 3 && stop other-1 && stop other-2 && within 10 advertises 1 || return 1
    pkill -CONT -x berth
}
advertise_too() {
    local address
    address=$(adapter hci0 Address | cut -d '"' -f 2)
    while sleep 1; do printf 'select %s\nadvertise on\n' "$address"; done | bluetoothctl
}
# The laptop as it was when the hub's power was cut.
keep_lap() { pkill -STOP -x berth; tar -C /run/lap -cf /out/lap.tar state files; }
lap_is_back() { tar -C /run/lap -xf /out/lap.tar; }

fact "hub and laptop have their daemons" lab 2
if [ "$BOOT" = 1 ]; then
    fact "the programs run" programs
    fact "they pair by the code" pair
    new_file 40
    backup_begins
    fact "a backup has begun" within 60 acknowledged 1
    fact "hub and laptop are in a group" both_are_in_a_group
    if [ "$1" = power ]; then
        fact "the laptop stays as it is" keep_lap
        power_cut
    fi
    fact "$1 ends at once, and runs again" interrupt "$1"
    fact "the backup has ended" within 120 backup_is_over
else
    fact "the laptop is still there" lap_is_back
    fact "the hub runs again" start_hub
fi
fact "what the hub has is whole" berthctl verify
fact "the hub can be found" within 30 advertises 1
fact "the next backup is complete" berth backup
fact "restic finds it whole upstream" restic_agrees
fact "nothing of the visits is left" within 20 nothing_left
