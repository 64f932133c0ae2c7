# shellcheck shell=bash
# Hub and laptop are on a LAN too: once they have met by Bluetooth the backup goes over that, and no group is opened. In
# the middle of another one the LAN breaks, and the next backup goes by a group.
# shellcheck source=SCRIPTDIR/../guest/programs disable=SC2154
. "$guest/programs"

# A cable between the two.
lan() {
    modprobe veth
    ip link add lan type veth peer name lan netns lap &&
        ip addr add 10.8.0.1/24 dev lan && ip link set lan up &&
        ip -n lap addr add 10.8.0.2/24 dev lan && ip -n lap link set lan up &&
        within 10 lap ping -c 1 -W 1 10.8.0.1
}
# Every interface that the hub ever has is in this log; those of groups too.
watch_interfaces() {
    daemon interfaces ip monitor link
    ip link add seen type dummy && within 10 grep -w seen /out/interfaces.log
}
a_group_was_opened() { grep p2p- /out/interfaces.log; }
# What berth says of the last visit.
took() { berth status | grep "the way *$1"; }
took_the_lan() { took "the network that both were on" && not a_group_was_opened; }

fact "hub and laptop have their daemons" lab 2
fact "they are on a LAN" lan
fact "the interfaces of the hub are watched" watch_interfaces
fact "the programs run" programs --listen 0.0.0.0:7700
fact "they pair by the code" pair
new_file 5
fact "the laptop has backed up" berth backup
fact "it took the LAN, and no group was opened" took_the_lan
new_file 40
backup_begins
fact "the first byte of another backup is acknowledged" within 60 acknowledged 1
ip link set lan down
fact "without the LAN the backup ends" within 120 backup_is_over
fact "it was not complete" not backup_is_complete
fact "it had taken the LAN, and no group was opened" took_the_lan
fact "the rest is backed up" berth backup
fact "it took a group" took "Wi-Fi Direct"
fact "which was seen" a_group_was_opened
fact "restic finds it whole upstream" restic_agrees
fact "nothing of the visits is left" within 20 nothing_left
