# shellcheck shell=bash
# A laptop whose Wi-Fi can't be a P2P client joins as a station, through wpa_supplicant: it leaves its own network for
# the visit. It goes out of range in the middle, comes back, and the backup goes on.
# shellcheck source=SCRIPTDIR/../guest/programs disable=SC2154
. "$guest/programs"

fact "hub and laptop have their daemons" lab 3
echo p2p_disabled=1 >>/run/lap.conf
fact "the programs run" programs
fact "there is a network that the laptop is on all day" home
fact "the laptop is on it" go_home
fact "they pair by the code" pair
new_file 40
backup_begins
fact "the first byte of a backup is acknowledged" within 60 acknowledged 1
leave_range
fact "out of range, the backup ends" within 60 backup_is_over
fact "it was not complete" not backup_is_complete
fact "the laptop is on its own network again" within 40 home_answers
come_back
fact "back in range, the rest is backed up" berth backup
fact "the laptop is on its own network again" within 40 home_answers
fact "restic finds it whole upstream" restic_agrees
fact "nothing of the visits is left" within 20 nothing_left
