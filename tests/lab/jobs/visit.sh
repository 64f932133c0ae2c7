# shellcheck shell=bash
# The real berthd and berth: pair by code over Bluetooth, back up over Wi-Fi Direct beside the laptop's own network, and
# restic finds it upstream.
# shellcheck source=SCRIPTDIR/../guest/programs disable=SC2154
. "$guest/programs"

fact "hub and laptop have their daemons" lab 3
fact "the programs run" programs
fact "they pair by the code" pair
fact "there is a network that the laptop is on all day" home
fact "the laptop is on it" go_home
new_file 10
ping_home
backup_begins
fact "the first byte of a backup is acknowledged" within 60 acknowledged 1
fact "the laptop has backed up over Wi-Fi Direct" within 120 backup_is_complete
ping_ends
fact "its own network has lost few pings" lost_at_most 5
fact "restic finds the backup whole upstream" restic_agrees
fact "nothing of the visit is left" within 20 nothing_left
